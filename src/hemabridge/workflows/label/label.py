"""`hemabridge label`: cells are chosen, an expert labels them, and the members of an ensemble learn from it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from lightning_fabric import Fabric

from hemabridge.data.new_cells import crop_px_of, list_new_cells, read_new_cells
from hemabridge.errors import InputError
from hemabridge.evaluation.label_results import FILE, LabelResults
from hemabridge.evaluation.results import StudyResults
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.scale import CropSpec
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import read_settled
from hemabridge.report.report import write_label_report
from hemabridge.storage.files import copy_file
from hemabridge.storage.run_folder import check_apart, check_outputs, hold_folder, names_in
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.workflows.evaluate.finished_study import FinishedStudy
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
from hemabridge.workflows.label.learned import Labels, write_results
from hemabridge.workflows.label.page import Asked

REPORT: Final = "report.html"
SELECTION: Final = ".selection"
"""Folder of the chosen cells as they were first written; that in the folder itself may be filled in."""
FINE_TUNING: Final = "fine-tuning"
PAGE: Final = "page"
FEWEST_FOR_FOLDS: Final = 4
"""With fewer labels of the study's classes, fine-tuning is not cross-validated."""

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
    """

    chosen: int
    labeled: int
    failed: dict[str, str]
    results: LabelResults | None


def label(
    study: Path,
    source: Path,
    out: Path,
    *,
    k: int = 16,
    labels: Path | None = None,
    ask: Ask | None = None,
    folds: int = 4,
    root: Path | None = None,
    crop_px: int | None = None,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> Labeled:
    """Choose cells of another hospital, take an expert's labels of them, and fine-tune a study's ensemble on these.

    Writes `cells-to-label.csv`. With labels also `labels.csv`, `label.json`, `predicted-classes.csv`, `next-cells.csv`,
    `report.html` and the fine-tuned ensemble. The labels are used only if they do no harm: home accuracy does not fall
    by more than one point, and fine-tuning on the other labels does not make predictions of held-out ones worse. The
    same call resumes.

    Args:
        study: the folder of a finished study with an ensemble.
        source: a folder of images of the other hospital, or a manifest. Its classes are not read.
        out: a new or empty folder, or that of an earlier call.
        k: number of cells to choose.
        labels: a CSV file with the columns path and class, of chosen or other cells.
        ask: asks the expert, if there is no such file; None chooses cells only.
        folds: of the cross-validation; 0 for none, which saves its time.
        root: what the manifest's paths are relative to; its folder if not given.
        crop_px: the square around a cell in these images; estimated if not given.
        fabric: device and precision; the best one if not given.
        progress: told of each step.

    Raises:
        InputError: the study is not finished or has no ensemble, no image can be read, the labels cannot be used, or
            `out` is not apart from the study and the images or holds other files.
        Interrupted: a signal stopped it.
        HemabridgeError: a file of the study is damaged.
    """
    hospital = _open(study, source, root, crop_px, fabric or Fabric(accelerator="auto", devices=1), progress)
    given: Mapping[str, str] | None = None if labels is None else read_labels(labels, hospital.study.classes)
    check_apart(out, study, *([source] if source.is_dir() else []))
    own = {TO_LABEL, LABELS, FILE, PREDICTED_CLASSES, NEXT, REPORT, FINE_TUNING, PAGE}
    check_outputs(out, names_in(out) - own if (out / SELECTION).is_dir() else names_in(out))
    out.mkdir(parents=True, exist_ok=True)
    with hold_folder(out):
        chosen = _chosen(hospital, k, out)
        finished = True
        if given is None:
            given, finished = ({}, False) if ask is None else ask(hospital, chosen, out / PAGE)
        if given:
            write_labels(given, out / LABELS)
        if not finished:
            return Labeled(len(chosen), len(given), hospital.cells.failed, None)
        results = _taught(hospital, given, k, folds, source.name, out)
    return Labeled(len(chosen), len(given), hospital.cells.failed, results)


def _open(
    study: Path, source: Path, root: Path | None, crop_px: int | None, fabric: Fabric, progress: Progress
) -> Hospital:
    layout = StudyFolder(study)
    if not layout.results.is_file():
        raise InputError(f"expected the folder of a finished study, got {study} without results.json; run the study")
    recipe = expect_kind(read_recipe(layout.recipe), StudyRecipe)
    finished = FinishedStudy(study, recipe, StudyResults.read(layout.results).classes, progress)
    finished.check_ensemble()
    own = read_settled(recipe.source, study)
    listed = list_new_cells(source, root, own.name)
    scale = crop_px or (own.crop_px if own.crop_px == "whole" else crop_px_of(listed.manifest))
    check = FieldCheck.of(listed.manifest.paths())
    cells = read_new_cells(listed, finished.classes, CropSpec(scale, recipe.ensemble_px), progress, check.reason)
    return Hospital(finished, listed.manifest, cells, scale, fabric)


def _chosen(hospital: Hospital, k: int, out: Path) -> list[CellToLabel]:
    """Return the chosen cells; write them for filling in, unless labels were filled in already."""

    def work(folder: Path) -> None:
        write_cells(hospital.choose(hospital.fit.fitted, hospital.before, k), folder / TO_LABEL)

    folder = Stages(out).run(SELECTION, hospital.inputs | {"k": k}, work)
    if not has_labels(out / TO_LABEL):
        copy_file(folder / TO_LABEL, out / TO_LABEL)
    return read_cells(folder / TO_LABEL)


def _taught(hospital: Hospital, given: Mapping[str, str], k: int, folds: int, name: str, out: Path) -> LabelResults:
    """Fine-tune on the labels, unless that was done before; write results and report."""
    known = Labels.of(given, hospital)
    count = len(known.trained_on)
    folds = min(folds, count) if folds > 1 and count >= FEWEST_FOR_FOLDS else 0

    def work(folder: Path) -> None:
        write_results(hospital, known, k, folds, name, folder)

    inputs = hospital.inputs | {"labels": dict(given), "k": k, "folds": folds}
    folder = Stages(out).run(FINE_TUNING, inputs, work, _tidy)
    for file in (FILE, PREDICTED_CLASSES, NEXT):
        copy_file(folder / file, out / file)
    results = LabelResults.read(folder / FILE)
    shown = {cell.path for cell in results.cells} | {cell.path for cell in results.following}
    images = {path: hospital.cells.images[row] for row, path in enumerate(hospital.cells.paths) if path in shown}
    write_label_report(results, images, out / REPORT)
    return results


def _tidy(folder: Path) -> None:
    """Remove what a finished fine-tuning does not need."""
    for fold in folder.glob("fold-*"):
        shutil.rmtree(fold)
    drop_checkpoints(folder)
