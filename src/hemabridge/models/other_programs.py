"""Classifiers of other programs, whose files state neither their classes nor their preprocessing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.errors import ModelError, RecipeError
from hemabridge.models.classifying import ClassifierModel
from hemabridge.models.file import ModelFile
from hemabridge.storage.file_kind import check_format
from hemabridge.storage.settings_file import explain, read_toml

DESCRIPTION_FORMAT: Final = 1
"""Version of the TOML file that describes a classifier of another program, also of a file without a version."""


def described_classifier(path: Path, crop_px: int | None) -> ClassifierModel:
    """Open the classifier that a TOML file describes with the keys of `ExternalConfig`.

    Raises:
        ModelError: the classifier's file cannot be read.
        RecipeError: the description cannot be used.
    """
    table = read_toml(path)
    check_format(
        table.pop("format", DESCRIPTION_FORMAT),
        DESCRIPTION_FORMAT,
        f"the description of a classifier ({path})",
        f"write it as format {DESCRIPTION_FORMAT} has it",
        RecipeError,
    )
    try:
        config = ExternalConfig.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        raise RecipeError(
            f"expected the description of a classifier, {path} cannot be used:\n{explain(error, ExternalConfig)}"
        ) from error
    return ClassifierModel(ModelFile.read(config.file), config, crop_px)


def external_classifier(
    file: ModelFile,
    crop_px: int | None,
    classes: Sequence[str] | None,
    architecture: str | None,
    preprocessing: Preprocessing | None,
) -> ClassifierModel:
    """Return another program's classifier, whose classes and preprocessing the caller states.

    Raises:
        ModelError: the classes are missing, or `architecture` does not apply to the format of the file.
    """
    if not classes:
        raise ModelError(
            f"expected a file that hemabridge wrote, or the classes of another program's classifier in the order of "
            f"its outputs, got neither: {file.path}"
        )
    if (architecture is None) != (file.format == "onnx"):
        raise ModelError(
            f"expected the timm model that a safetensors file belongs to, and none for an ONNX file, got "
            f"{architecture!r} for {file.path}, which is {file.format}"
        )
    config = ExternalConfig(
        file=file.path,
        architecture=architecture,
        classes=tuple(classes),
        preprocessing=preprocessing or Preprocessing(),
    )
    return ClassifierModel(file, config, crop_px)
