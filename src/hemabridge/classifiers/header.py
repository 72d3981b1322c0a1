"""The header of a classifier's snapshot: training, preprocessing, classes, and sites. Reading it needs no PyTorch."""

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.domain.site_profile import SiteProfile
from hemabridge.imaging.scale import WrittenCropPx
from hemabridge.training.tensorfile import Header

KIND: Final = "classifier"


class ClassifierHeader(Header):
    """The header of a classifier.

    Attributes:
        config: how it was trained.
        preprocessing: from a cell's image to the network's input.
        classes: class names in the order of the outputs.
        crop_px: side of the square around a cell in the files, in pixels, or `whole`; None if unknown.
        cell_px: side of the cells before the preprocessing, in pixels; None if unknown.
        profiles: the appearance of each set of cells that it was trained on; empty if there were too few, or if
            unknown.
        learning_rate: peak of the schedule; None if unknown.
        seed: of the training.
        seen: SHA-256 of the files that it was trained on.
        cells_sha256: SHA-256 of the cells and labels.
        weights_sha256: SHA-256 of the file of the initial weights; None for random weights.
        weights_origin: `repository/file@commit` of that file if it was downloaded; None otherwise.
        start: SHA-256 of the snapshot with which semi-supervised fine-tuning started; None otherwise.
        semi_supervised: settings of semi-supervised fine-tuning; None otherwise.
        mirrored: whether the prediction is the mean over four views of each image; see `mean_over_views`.
    """

    kind: Literal["classifier"] = KIND
    config: ClassifierConfig
    preprocessing: Preprocessing
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    crop_px: WrittenCropPx | None = None
    cell_px: Annotated[int, Field(ge=1)] | None = None
    profiles: tuple[SiteProfile, ...] = ()
    learning_rate: float | None = None
    seed: int | None = None
    seen: tuple[str, ...] = ()
    cells_sha256: str | None = None
    weights_sha256: str | None = None
    weights_origin: str | None = None
    start: str | None = None
    semi_supervised: dict[str, object] | None = None
    mirrored: bool = False

    @field_validator("config")
    @classmethod
    def _name_no_folder(cls, config: ClassifierConfig) -> ClassifierConfig:
        return config.without_folder()
