"""`open_model`, the only function that opens a path as a model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.listing import list_images
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.imaging.files import IMAGE_SUFFIXES
from hemabridge.imaging.reader import FILES, ImageReader
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.bundled import open_bundle
from hemabridge.models.file import ModelFile
from hemabridge.models.model import Model
from hemabridge.models.restaining import NormalizerModel, TranslatorModel
from hemabridge.models.selection_file import FILE, Selection
from hemabridge.models.study_folder import StudyFolder
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.run_folder import kind_of_run
from hemabridge.training.snapshots import last_snapshot, snapshot_files
from hemabridge.training.tensorfile import HEADER, parse_header, parse_metadata
from hemabridge.translators.header import TranslatorHeader

APPEARANCE_IMAGES: Final = 100
"""Number of cells from which a site's appearance is measured."""

DESCRIBED: Final = ".toml"
"""Suffix of a file that describes a classifier of another program."""


def open_model(
    path: Path | str,
    *,
    snapshot: str | None = None,
    crop_px: int | None = None,
    site: Path | str | None = None,
    classes: Sequence[str] | None = None,
    architecture: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> Model:
    """Open a model: its file is read and its header is checked; weights are loaded on first use.

    Args:
        path: the JSON file of a normalizer; the snapshot of a translator or of a classifier; a run folder, for its
            snapshot that `hemabridge select` chose, else the last one; a study's folder, for its translator; a bundle
            that `hemabridge export` wrote; the ONNX
            or timm safetensors file of a classifier of another program; or a TOML file that describes such a
            classifier, with the keys of `ExternalConfig`.
        snapshot: the name of a snapshot of the run folder.
        crop_px: side, in pixels, of the square around a cell in new images; None: the model's own.
        site: a folder of images whose appearance a target-only model uses; None: that of its training.
        classes: class names of another program's classifier, in the order of its outputs.
        architecture: the timm model of another program's safetensors file.
        preprocessing: the preprocessing of another program's classifier.

    Raises:
        ModelError: there is no model, it is damaged, or `site` or `classes` do not apply to this kind of model.
        InputError: `selection.json` is damaged, or `site` has no readable image.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import hemabridge as hb
        >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
        >>> theirs, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["yellow-field"], 1, 64)
        >>> ours, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["clinic-like"], 2, 64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "linear-ot.json"
        ...     _ = file.write_text(hb.fit_normalizer("linear-ot", theirs, ours).to_json())
        ...     restained = hb.open_model(file).standardize(theirs)
        >>> restained.shape, restained.dtype
        ((4, 64, 64, 3), dtype('uint8'))
    """
    path = _not_json(path)
    found, selection = _find(path, snapshot)
    if found.suffix.lower() == DESCRIBED:
        if any(each is not None for each in (site, classes, architecture, preprocessing)):
            raise ModelError(f"expected classes, architecture and preprocessing in {found} alone, and no site")
        from hemabridge.models.other_programs import described_classifier

        return _with_stated(described_classifier(found, crop_px))
    file = ModelFile.read(found)
    if selection is not None and selection.chosen == found.stem and file.sha256 != selection.row(found.stem).sha256:
        raise _other_than_selected(selection, path, "another")
    model = _with_stated(_opened(file, crop_px, classes, architecture, preprocessing))
    return model if site is None else _for_site(model, file, Path(site), crop_px)


def _with_stated(model: Model) -> Model:
    """Return a model whose square, if it was stated, holds for images too that state their scale."""
    return model if model.crop_px is None else replace(model, crop_um=None)


def _for_site(model: Model, file: ModelFile, site: Path, crop_px: int | None) -> TranslatorModel:
    """Return a target-only model with the appearance of a folder's images."""
    if not isinstance(model, TranslatorModel):
        raise ModelError(
            f"expected a target-only model, which uses a site's appearance, got a {model.kind}: {model.path}"
        )
    files = [site / name for name in list_images(site).images] if site.is_dir() else []
    return TranslatorModel(file, model.header, crop_px, appearance=read_cells(model, files), crop_um=model.crop_um)


def open_translator(path: Path | str) -> TranslatorModel:
    """Open a translator; `path` is as in `open_model`.

    Raises:
        ModelError: as `open_model`, or the model is not a translator.
    """
    model = open_model(path)
    if not isinstance(model, TranslatorModel):
        raise ModelError(f"expected the snapshot of a translator, got a {model.kind}: {model.path}")
    return model


class OpenModels:
    """The models of one command by their files, each of which is opened and hashed once however many stages use it.

    Attributes:
        most_bytes: size of the files that are kept in memory, at most, in bytes; None: no limit. Beyond it, those that
            were not used for the longest time are opened again when they are needed.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self.most_bytes = most_bytes
        self._opened: dict[Path, Model] = {}  # the last one was used last

    def __call__(self, file: Path) -> Model:
        """Open a file as `open_model` does, or return the model that was opened before.

        Raises:
            ModelError: as `open_model`.
        """
        key = file.resolve()
        model = self._opened.pop(key, None) or open_model(file)
        self._opened[key] = model
        while self.most_bytes is not None and len(self._opened) > 1 and self._held_bytes() > self.most_bytes:
            del self._opened[next(iter(self._opened))]
        return model

    def _held_bytes(self) -> int:
        return sum(len(model.file.content) for model in self._opened.values())


def find_snapshot(model: Path, name: str | None = None) -> Path:
    """Return the file for a path: the path itself, or the given, selected or last snapshot of a run folder.

    `open_model` checks whether a selected snapshot has changed.

    Raises:
        ModelError: there is no file, `hemabridge select` found no usable snapshot, or its choice is missing.
        InputError: `selection.json` is damaged.
    """
    return _find(model, name)[0]


def read_selection(model: Path) -> Selection | None:
    """Return the result of `hemabridge select` for a run folder; None if there is none.

    Raises:
        InputError: `selection.json` is damaged.
    """
    path = model / FILE
    return Selection.read(path) if path.is_file() else None


def read_cells(
    model: TranslatorModel,
    files: Sequence[Path],
    images: ImageReader = FILES,
) -> UInt8Images:
    """Read the cells of at most `APPEARANCE_IMAGES` files, evenly spaced, for a model; uint8[N, S, S, 3].

    `images` reads the files.

    Raises:
        InputError: no file is a readable image.
    """
    wanted = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    some = [wanted[place] for place in evenly_spaced(len(wanted), APPEARANCE_IMAGES)]
    cells = []
    for file in some:
        try:
            cells.append(model.crop(scale=images.scale(file)).cut(images.read(file)))
        except ImageError:
            continue  # unreadable files are reported when they are re-stained
    if not cells:
        raise InputError(f"expected readable images to measure a site's appearance, got none among {len(files)} files")
    return np.stack(cells)


def _not_json(path: Path | str) -> Path:
    if str(path).lstrip().startswith("{"):
        raise ModelError(
            f"expected the path of a model, got JSON text, {str(path)[:40]!r}; write it to a file, or read it with "
            "hemabridge.normalizers.normalizer_from_json(text)"
        )
    return Path(path)


def _opened(
    file: ModelFile,
    crop_px: int | None,
    classes: Sequence[str] | None,
    architecture: str | None,
    preprocessing: Preprocessing | None,
) -> Model:
    if file.format == "bundle":
        if classes or architecture or preprocessing is not None:
            raise ModelError(f"expected no classes, architecture or preprocessing for a bundle: {file.path}")
        return open_bundle(file, crop_px)
    if file.format == "json":
        return _normalizer(file, crop_px)
    own = file.format == "safetensors" and HEADER in parse_metadata(file.content, file.path)
    if not own:
        from hemabridge.models.other_programs import external_classifier

        return external_classifier(file, crop_px, classes, architecture, preprocessing)
    header = parse_header(file.content, file.path)
    return _of_kind(file, header, crop_px)


def _normalizer(file: ModelFile, crop_px: int | None) -> NormalizerModel:
    try:
        return NormalizerModel(file, normalizer_from_json(file.text), crop_px)
    except ModelError as error:
        raise ModelError(f"{error}: {file.path}") from error


def _of_kind(file: ModelFile, header: dict[str, Any], crop_px: int | None) -> Model:
    kind = header.get("kind")
    if kind == "translator":
        return TranslatorModel(file, TranslatorHeader.of(header, file.path), crop_px)
    if kind == "classifier":
        from hemabridge.classifiers.header import ClassifierHeader
        from hemabridge.models.classifying import ClassifierModel

        return ClassifierModel(file, ClassifierHeader.of(header, file.path), crop_px)
    raise ModelError(
        f"expected the snapshot of a translator or of a classifier, got that of a {kind}: {file.path}; of a learned "
        "LUT use the JSON file that the study wrote"
    )


def _find(model: Path, name: str | None) -> tuple[Path, Selection | None]:
    """Return the file for a path, and the selection by which it was found."""
    if model.is_file():
        return model, None
    folder = next((f for f in (model, StudyFolder(model).translator) if (f / "snapshots").is_dir()), None)
    snapshots = [] if folder is None else snapshot_files(folder)
    if not snapshots:
        raise ModelError(f"expected a model's file or a run folder with snapshots, got {_instead(model)}")
    selection = None if name is not None else read_selection(model)
    if selection is not None:
        return _selected(selection, snapshots, model), selection
    if name is None:
        return last_snapshot(snapshots), None
    named = [path for path in snapshots if path.stem == name]
    if not named:
        raise ModelError(f"expected one of the snapshots {', '.join(path.stem for path in snapshots)}, got {name!r}")
    return named[0], None


def _instead(path: Path) -> str:
    """Return what a path is that is no model, and what to do."""
    kind = kind_of_run(path)
    if kind == "adapt":
        return f"a run of `hemabridge adapt`: {path}; run it by `hemabridge run {path} FOLDER OUT`"
    if kind is None and path.is_dir() and list_images(path).images:
        return f"a folder of images: {path}; name the model, which stands before the images"
    return f"none at {path}"


def _selected(selection: Selection, snapshots: Sequence[Path], model: Path) -> Path:
    if selection.chosen is None:
        raise ModelError(
            f"expected a run with a usable snapshot, got none by {model / FILE}: {selection.reasons} "
            "To use one nevertheless, give its name by --snapshot"
        )
    chosen = next((path for path in snapshots if path.stem == selection.chosen), None)
    if chosen is None:
        raise _other_than_selected(selection, model, "none")
    return chosen


def _other_than_selected(selection: Selection, model: Path, got: str) -> ModelError:
    return ModelError(
        f"expected the snapshot {selection.chosen} that was selected, got {got} in {model}: run "
        f"`hemabridge select {model}` again, or give the name of a snapshot"
    )
