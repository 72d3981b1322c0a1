"""`hemabridge label`: cells are chosen, an expert labels them, and the predictions and a classifier learn from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from lightning_fabric import Fabric

from hemabridge.data.new_cells import NewCrop, crop_of, list_new_cells, read_new_cells
from hemabridge.evaluation.label_results import FILE, LabelResults
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.kept_images import KeptImages
from hemabridge.progress import Progress, silent
from hemabridge.report.report import write_label_report
from hemabridge.storage.files import copy_file
from hemabridge.storage.run_folder import check_apart, check_outputs, hold_folder, names_in
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.workflows.label.daily_run import RUN, remove_run, write_run
from hemabridge.workflows.label.finished_run import AdaptRun, open_run
from hemabridge.workflows.label.hospital import Hospital
from hemabridge.workflows.label.label_files import (
    LABELS,
    NEXT,
    PREDICTED_CLASSES,
    TO_LABEL,
    CellToLabel,
    has_labels,
    read_cells,
    read_labels,
    write_cells,
    write_labels,
)
from hemabridge.workflows.label.learned import CLASSIFIER, Labels, write_results
from hemabridge.workflows.label.page import Asked

REPORT: Final = "report.html"
SELECTION: Final = ".selection"
"""Folder of the chosen cells as they were first written; that in the folder itself may be filled in."""
LEARNED: Final = ".learned"
"""Folder of the training, and of the files that are copied from it."""
PAGE: Final = "page"
COPIED: Final = (FILE, PREDICTED_CLASSES, NEXT)

Ask: TypeAlias = Callable[[Hospital, Sequence[CellToLabel], Path], Asked]
"""Asks an expert for the labels of cells; the folder keeps the answers."""


@dataclass(frozen=True)
class Labeled:
    """What was done.

    Attributes:
        chosen: number of cells to label.
        labeled: number of labels that the expert has given.
        failed: files that cannot be used, with the reason.
        results: None while labels are missing.
        daily: what `hemabridge run` or `hemabridge classify` takes from now on; None if no classifier was kept.
    """

    chosen: int
    labeled: int
    failed: dict[str, str]
    results: LabelResults | None
    daily: Path | None = None


def label(
    run: Path,
    source: Path,
    out: Path,
    *,
    k: int = 16,
    labels: Path | None = None,
    ask: Ask | None = None,
    root: Path | None = None,
    crop_px: int | None = None,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> Labeled:
    """Choose cells of another hospital, take an expert's labels of them, and learn from these.

    Writes `cells-to-label.csv`. With labels also `labels.csv`, `label.json`, `predicted-classes.csv`, `next-cells.csv`,
    `report.html`, and the classifier that learned: `run/` for a run of `hemabridge adapt`, else
    `classifier.safetensors`. The labels are used only if they do no harm: each labeled cell is predicted from the other
    labels, and not fewer of these predictions are right than without labels. The classifier is kept only if it
    costs at most one point of balanced accuracy at home. The same call resumes.

    Args:
        run: a finished run of `hemabridge adapt`, or the folder of a finished study with an ensemble.
        source: a folder of images of the other hospital, or a manifest. Its classes are not read.
        out: a new or empty folder, or that of an earlier call.
        k: number of cells to choose.
        labels: a CSV file with the columns path and class, of chosen or other cells.
        ask: asks the expert, if there is no such file; None chooses cells only.
        root: what the manifest's paths are relative to; its folder if not given.
        crop_px: the square around a cell in these images; estimated if not given.
        fabric: device and precision; the best one if not given.
        progress: told of each step.

    Raises:
        InputError: the run is not finished or has no ensemble, no image can be read, the labels cannot be used, or
            `out` is not apart from the run and the images or holds other files.
        Interrupted: a signal stopped it.
        HemabridgeError: a file of the run is damaged.
    """
    check_apart(out, run, *([source] if source.is_dir() else []))
    hospital = _open(run, source, out, root, crop_px, fabric or Fabric(accelerator="auto", devices=1), progress)
    given: Mapping[str, str] | None = None if labels is None else read_labels(labels, hospital.run.classes)
    own = {TO_LABEL, LABELS, *COPIED, REPORT, PAGE, CLASSIFIER, RUN}
    check_outputs(out, names_in(out) - own if (out / SELECTION).is_dir() else names_in(out))
    out.mkdir(parents=True, exist_ok=True)
    with hold_folder(out):
        if given is not None:
            Labels.of(given, hospital)  # refused before anything is predicted
        chosen = _chosen(hospital, k, out)
        finished = True
        if given is None:
            given, finished = ({}, False) if ask is None else ask(hospital, chosen, out / PAGE)
        if given:
            write_labels(given, out / LABELS)
        if not finished:
            return Labeled(len(chosen), len(given), hospital.cells.failed, None)
        results = _learned(hospital, given, k, source.resolve().name, out)
        daily = next((out / name for name in (RUN, CLASSIFIER) if (out / name).exists()), None)
    return Labeled(len(chosen), len(given), hospital.cells.failed, results, daily)


def _open(
    run: Path,
    source: Path,
    out: Path,
    root: Path | None,
    crop_px: int | None,
    fabric: Fabric,
    progress: Progress,
) -> Hospital:
    opened = open_run(run, progress)
    listed = list_new_cells(source, root, source.resolve().name)
    kept = KeptImages()
    stated = crop_px or opened.stated_crop
    crop = crop_of(listed.manifest, kept) if stated is None else NewCrop(stated)
    check = FieldCheck.of(listed.manifest.paths(), kept)
    cells = read_new_cells(listed, opened.classes, crop, opened.cell_px, progress, check.reason, kept=kept)
    return Hospital(opened, listed.manifest, cells, fabric, out)


def _chosen(hospital: Hospital, k: int, out: Path) -> list[CellToLabel]:
    """Return the chosen cells; write them for filling in, unless labels were filled in already."""

    def work(folder: Path) -> None:
        write_cells(hospital.choose(hospital.before.probabilities, k), folder / TO_LABEL)

    folder = Stages(out).run(SELECTION, hospital.inputs | {"k": k}, work)
    if not has_labels(out / TO_LABEL):
        copy_file(folder / TO_LABEL, out / TO_LABEL)
    return read_cells(folder / TO_LABEL)


def _learned(hospital: Hospital, given: Mapping[str, str], k: int, name: str, out: Path) -> LabelResults:
    """Learn the labels, unless that was done before; write results and report."""
    known = Labels.of(given, hospital)

    def work(folder: Path) -> None:
        write_results(hospital, known, k, name, folder)

    inputs = hospital.inputs | {"labels": dict(given), "k": k, "name": name}
    folder = Stages(out).run(LEARNED, inputs, work, drop_checkpoints)
    for file in COPIED:
        copy_file(folder / file, out / file)
    results = LabelResults.read(folder / FILE)
    _write_classifier(hospital, results, folder, out)
    shown = {cell.path for cell in results.cells} | {cell.path for cell in results.following}
    images = {path: hospital.cells.images[row] for row, path in enumerate(hospital.cells.paths) if path in shown}
    write_label_report(results, images, out / REPORT)
    return results


def _write_classifier(hospital: Hospital, results: LabelResults, folder: Path, out: Path) -> None:
    """Write the classifier for daily use if it was kept; remove that of other labels if it was not."""
    file = folder / CLASSIFIER
    is_kept = results.classifier is not None and results.classifier.is_kept
    if not is_kept:
        (out / CLASSIFIER).unlink(missing_ok=True)
        remove_run(out / RUN)
    elif isinstance(hospital.run, AdaptRun):
        write_run(hospital, hospital.run, results, file, out / RUN)
    else:
        copy_file(file, out / CLASSIFIER)
