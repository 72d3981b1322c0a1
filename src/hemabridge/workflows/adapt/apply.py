"""`hemabridge run`: re-stains and classifies a folder with what `hemabridge adapt` made."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from hemabridge.data.listing import not_a_folder
from hemabridge.deployment.bundle import ADAPTED
from hemabridge.errors import InputError
from hemabridge.models import Model, open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.models.classified import UNKNOWN
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import check_apart, check_outputs, check_same_images, hold_folder, names_in
from hemabridge.storage.spreadsheets import as_cells
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted, is_adapt_run
from hemabridge.workflows.adapt.certainty import reason_unknown, uncertainty
from hemabridge.workflows.classify.classify import Classified, ImagePrediction, classify
from hemabridge.workflows.standardize.log import FileRow, read_log
from hemabridge.workflows.standardize.standardize import Standardized, standardize_with

PREDICTIONS: Final = "predictions.csv"
RESTAINED: Final = "restained"
CLASSES: Final = "classes"
"""What `hemabridge classify` writes."""
COLUMNS: Final = ("path", "predicted_class", "probability", "uncertainty", "site", "guard", "reason", "remark")

NUMBERS: Final = ("probability", "uncertainty")
"""The columns that are numbers."""


@dataclass(frozen=True)
class Run:
    """The results for one folder.

    Attributes:
        classified: the classes.
        restained: the re-stained images.
        cautions: see `Adapted.cautions`; empty for a bundle of other models.
    """

    classified: Classified
    restained: Standardized
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Opened:
    """What re-stains and classifies the images of a folder.

    Attributes:
        classifier: gives the classes, from the original images.
        restainer: re-stains.
        adapted: what `hemabridge adapt` found; None for a bundle of other models.
    """

    classifier: Model
    restainer: Model
    adapted: Adapted | None


def run(adapted: Path, folder: Path, out: Path, *, keep_identity: bool = False, progress: Progress = silent) -> Run:
    """Re-stain and classify every image below a folder; write `PREDICTIONS` with a row for each.

    The re-stained images go to `RESTAINED`. Classes are withheld where the images are out-of-distribution for the
    classifier, which knows both hospitals. An image that shows no single leukocyte is unknown, and a cell below
    `Adapted.unknown_below`. A bundle of other models than those of `hemabridge adapt` has no such limit, and no
    `uncertainty`. A call that was stopped
    does not re-stain again what is done.

    Args:
        adapted: the run folder of `hemabridge adapt`, or a bundle with a classifier and a model that re-stains.
        folder: images of single cells of the other hospital.
        out: a new or empty folder, or that of an earlier call.
        keep_identity: whether re-stained DICOM files get patient, study and specimen of their source.
        progress: told of each image.

    Raises:
        InputError: `adapted` is neither a finished run nor a bundle, `folder` holds no images, or `out` holds other
            files or the results of other images.
        ModelError: a file of the run is damaged.
        RunError: another process works in `out`.
    """
    _check_arguments(adapted, folder, out)
    return run_with(opened_for(adapted), folder, out, keep_identity=keep_identity, progress=progress)


def _check_arguments(adapted: Path, folder: Path, out: Path) -> None:
    """Check that the second of the arguments of `hemabridge run` is the folder of images."""
    if not is_adapt_run(adapted) and adapted.is_dir() and (is_adapt_run(folder) or folder.is_file()):
        swapped = shlex.join(["hemabridge", "run", *map(str, (folder, adapted, out))])
        raise InputError(f"expected the run before the folder of images, got them the other way round; run: {swapped}")
    if is_adapt_run(folder):
        raise InputError(f"expected a folder of images, got a run of `hemabridge adapt`: {folder}")
    if not folder.is_dir():
        raise InputError(f"expected a folder of images, got {not_a_folder(folder)}")


def run_with(
    models: Opened, folder: Path, out: Path, *, keep_identity: bool = False, progress: Progress = silent
) -> Run:
    """Do the same as `run`, with models that are already open.

    Raises:
        InputError, ModelError, RunError: as for `run`.
    """
    check_apart(out, folder)
    check_outputs(out, names_in(out) - {PREDICTIONS, RESTAINED, CLASSES})
    link = next((out / name for name in (RESTAINED, CLASSES) if (out / name).is_symlink()), None)
    if link is not None:
        raise InputError(f"expected a folder of ours, got a link: {link}; remove it")
    with hold_folder(out):
        earlier = read_log(out / RESTAINED)
        check_same_images(folder, out, {name: row.sha256 for name, row in earlier.items()})
        classified = classify(models.classifier, folder, out / CLASSES, progress=progress)
        restained = standardize_with(
            models.restainer, folder, out / RESTAINED, keep_identity=keep_identity, progress=progress
        )
        _write(classified, {row.path: row for row in restained.rows}, models.adapted, out / PREDICTIONS)
    return Run(classified, restained, () if models.adapted is None else models.adapted.cautions)


def opened_for(adapted: Path, opened: Callable[[Path], Model] = open_model) -> Opened:
    """Return the classifier and the re-stainer of the run folder of `hemabridge adapt`, or of a bundle.

    Args:
        adapted: the folder or the bundle.
        opened: opens the files; see `hemabridge.models.open.OpenModels`.

    Raises:
        InputError: it is neither, or the run is not finished.
        ModelError: a file of it is damaged, or the bundle lacks one of the two.
    """
    if adapted.is_file():
        return opened_of(opened(adapted))
    found = Adapted.of_folder(adapted)
    classifier = replace(opened(found.file(adapted, found.classifier)), crop_px=found.crop_px)
    if classifier.classes != found.classes:
        raise InputError(
            f"expected a classifier of {', '.join(found.classes)}, as {ADAPTED_FILE} says, got one of "
            f"{', '.join(classifier.classes)} in {adapted}; {found.AGAIN}"
        )
    return Opened(classifier, opened(found.file(adapted, found.normalizer)), found)


def opened_of(model: Model) -> Opened:
    """Return the models of a bundle, and what `hemabridge adapt` found, if it was made from such a run.

    Raises:
        ModelError: the bundle lacks a classifier or a model that re-stains.
    """
    adapted = None
    if isinstance(model, BundleModel) and model.header.is_adapted:
        adapted = Adapted.from_json(model.bundle.text(ADAPTED))
    return Opened(model.classifying, model.restaining, adapted)


def _write(classified: Classified, restained: Mapping[str, FileRow], model: Adapted | None, path: Path) -> None:
    """Write a row for each image: its class, and what site profile and guard say of it."""
    site = None if classified.site is None else classified.site.answer
    rows = [_cells_of(row, site, restained.get(row.path), model) for row in classified.rows]
    schema: dict[str, Any] = dict.fromkeys(COLUMNS, pl.String) | dict.fromkeys(NUMBERS, pl.Float64)
    with atomic_write(path) as temporary:
        as_cells(pl.DataFrame(rows, schema=schema, orient="row")).write_csv(temporary, float_precision=4)


def _cells_of(
    row: ImagePrediction, site: str | None, restained: FileRow | None, model: Adapted | None
) -> tuple[object, ...]:
    """Return the cells of `COLUMNS`; only of a run of `hemabridge adapt` is known how certain it was of other cells."""
    guard = None if restained is None else restained.verdict or None
    remark = None if restained is None else restained.remark or None
    probability = None if row.probabilities is None else max(row.probabilities)
    if probability is None or model is None:
        return (row.path, row.predicted, probability, None, site, guard, row.reason or None, remark)
    shown = (probability, uncertainty(probability, model.certainties), site, guard)
    reason = "" if row.reason else reason_unknown(row.predicted or "", probability, model.unknown_below)
    if reason:
        return (row.path, UNKNOWN, *shown, reason, remark)
    return (row.path, row.predicted, *shown, row.reason or None, remark)
