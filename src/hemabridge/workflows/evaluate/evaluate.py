"""`hemabridge evaluate`: classifies new cells with the models of a study, and scores cells of known classes."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from lightning_fabric import Fabric
from numpy.typing import NDArray

from hemabridge.data.cells import UNKNOWN
from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import Listed, NewCells, NewCrop, crop_of, list_new_cells, read_at_sizes
from hemabridge.ensemble.lut_learning import NAME as LEARNED_LUT
from hemabridge.ensemble.members import MEMBERS_FILE
from hemabridge.errors import InputError
from hemabridge.evaluation.home_failure import HomeFailure
from hemabridge.evaluation.predictions import Predictions, write_predictions
from hemabridge.evaluation.results import Mode, PairedTest, Row, StudyResults
from hemabridge.evaluation.rows import ORIGINAL, make_row, paired_tests, work_out_mode
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.fields.single_cell import no_single_cell
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.kept_images import KeptImages
from hemabridge.models import Model, open_model
from hemabridge.models.site_answer import ANSWER_FILE, SiteAnswer, write_answer
from hemabridge.models.study_folder import PREDICTIONS, StudyFolder
from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import Site, read_settled
from hemabridge.storage.files import copy_file, sha256_of
from hemabridge.storage.run_folder import check_apart, check_outputs, names_in
from hemabridge.storage.stages import Stages
from hemabridge.workflows.adapt.adapted import is_adapt_run
from hemabridge.workflows.evaluate.answers import ONE_CLASSIFIER, Answers, choose
from hemabridge.workflows.evaluate.finished_study import FinishedStudy
from hemabridge.workflows.evaluate.predicted_table import PREDICTED_CLASSES, claim, is_table, write_rows
from hemabridge.workflows.evaluate.trust import Trust, guard_verdicts

FITTING: Final = ".fitting"
"""Folder of a fit that goes on where it was stopped; removed at the end."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results for all files.

    Attributes:
        by: the name of the answers in `predicted-classes.csv`.
        predicted: files that got a class.
        failed: files that could not be used, with the reason.
        withheld: files without a class because it could not be trusted; the table says why.
        rows: of every classifier on every re-staining, if at least one cell's class is known; as in a study.
        tests: each row on re-stained cells against the same classifier on the originals.
        mode: `strict` if the study was fitted on none of the scored files, `transductive` if on some.
        unscored: cells without a class, or with one that the study does not have.
        site: whether the site is in-distribution for the translator, or with `fit` for what was fitted; None if it has
            no site profile.
        home: classifiers of the study that failed at their own hospital.
        unknown: number of files that show no single leukocyte.
    """

    by: str
    predicted: int
    failed: dict[str, str]
    withheld: int
    rows: tuple[Row, ...]
    tests: tuple[PairedTest, ...]
    mode: Mode
    unscored: int
    site: SiteAnswer | None
    home: tuple[HomeFailure, ...] = ()
    unknown: int = 0


def evaluate(
    study: Path,
    source: Path,
    out: Path,
    *,
    root: Path | None = None,
    crop_px: int | None = None,
    by: str | None = None,
    fit: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Classify new images with all classifiers and re-stainings of a study, and with its ensemble.

    If no class is known, only the predictions `by` are made. An image that shows no single leukocyte is `unknown` in
    `predicted-classes.csv`; if its class is known it is scored as all others. Nothing is fitted or trained, unless
    `fit` is given, for images of another hospital. Writes `predicted-classes.csv`, one row per file, and
    `predictions.csv`, which holds the cells of known classes and from which every score can be computed again.

    Args:
        study: the folder of a finished study.
        source: a folder of images, or a manifest, whose column `class` is used where it is filled.
        out: a new or empty folder, or that of an earlier call; neither within the study or the images nor around them.
        root: folder to which the manifest's paths are relative; the manifest's own if not given.
        crop_px: side of the square around a cell in pixels of these images; if not given, that of the study's source,
            or with `fit` an estimate.
        by: name of the predictions in `predicted-classes.csv`; see `FinishedStudy.default_name` if not given.
        fit: fit the study's ensemble to these images without labels. Normalizers and color tables are written to `out`.
        progress: called after each step.

    Raises:
        InputError: the study is not finished, no image can be read, `by` is not the name of any predictions, `fit`
            needs an ensemble, or `out` cannot be used.
        SplitError: a synthetic cell has a class, which would be scored.
        HemabridgeError: a file of the study is damaged.
    """
    recipe = expect_kind(read_recipe(StudyFolder(_finished(study)).recipe), StudyRecipe)
    results = StudyResults.read(StudyFolder(study).results)
    finished = FinishedStudy(study, recipe, classes := results.classes, progress)
    if by is not None and not (fit and recipe.ensemble is None):  # `_refitted` reports the latter
        finished.check_name(by, fit=fit)
    own = read_settled(recipe.source, study, with_images=False)
    manifest = (listed := list_new_cells(source, root, own.name)).manifest
    check_apart(out, study, *([source] if source.is_dir() else []))  # images of a manifest may be anywhere
    _check_own(out)
    kept = KeptImages()
    crop = NewCrop(crop_px) if crop_px else _crop_of(manifest, own, kept, fit=fit)
    read = _cells(listed, finished, crop, kept, fit=fit).__getitem__
    cells = read(recipe.ensemble_px if fit else recipe.size_px)
    by = by if fit else by or finished.default_name()
    answers, model = _refitted(finished, read, crop, out) if fit else _answers(finished, read, cells, by, crop_px)
    chosen = choose(answers, by)
    guard = guard_verdicts(finished, chosen, lambda px: read(px).images)
    out.mkdir(parents=True, exist_ok=True)
    claim(table := out / PREDICTED_CLASSES)
    site = None if model is None else write_answer(model, manifest.paths(), out, progress, kept)
    trust = Trust.of(site, chosen, guard)
    predicted, unknown, withheld = write_rows(chosen, trust, cells, classes, manifest, table)
    done = _scored(answers, manifest, cells, finished, None if fit else own, out)
    done = replace(done, by=chosen.name, site=site, home=results.home)
    return replace(done, predicted=predicted, unknown=unknown, withheld=withheld)


def _crop_of(manifest: Manifest, own: Site, kept: KeptImages, *, fit: bool) -> NewCrop:
    """Return the square around a cell of other images: that of the study's source, or for a fit an estimate."""
    is_estimated = fit and own.crop_px != "whole"
    return crop_of(manifest, kept) if is_estimated else NewCrop(own.crop_px, CELL_CROP_UM)


def _cells(
    listed: Listed, finished: FinishedStudy, crop: NewCrop, kept: KeptImages, *, fit: bool
) -> dict[int, NewCells]:
    """Read the cells at all sizes that are needed; each file is read, hashed and searched once."""
    classes, sizes = finished.classes, finished.sizes_px(fit=fit)
    reason = FieldCheck.of(listed.manifest.paths(), kept).reason
    shows = partial(no_single_cell, classes=classes)
    return read_at_sizes(listed, classes, crop, sizes, finished.progress, reason, shows, kept=kept)


def _answers(
    finished: FinishedStudy, read: Callable[[int], NewCells], cells: NewCells, by: str | None, crop_px: int | None
) -> tuple[list[Answers], Model]:
    """Return all predictions, and the last model that re-stains, which knows the source.

    If no cell can be scored, only the predictions of one name are made, since the others are not written.
    """
    scored = bool((cells.labels != UNKNOWN).any())
    answers = list(finished.answers(lambda px: read(px).images, None if scored else by))
    restainer = finished.opened(finished.restainings[-1].path)
    return answers, restainer if crop_px is None else restainer.with_crop(crop_px)


def _scored(
    answers: Sequence[Answers],
    manifest: Manifest,
    cells: NewCells,
    finished: FinishedStudy,
    own: Site | None,
    out: Path,
) -> Evaluation:
    """Return the scores of all predictions for cells of known class; write these predictions.

    `own` is the study's source; None if something was fitted to these cells.
    """
    classes, recipe = finished.classes, finished.recipe
    fitted_on = set(cells.hashes) if own is None else _fitted_on(recipe, finished.folder, own)
    known = np.flatnonzero(cells.labels != UNKNOWN)
    scored = [_predictions(each, cells, known, manifest.column("site")[0]) for each in answers] if len(known) else []
    mode = work_out_mode([cells.hashes[place] for place in known], fitted_on)
    write_predictions(scored, classes, out / PREDICTIONS)
    return Evaluation(
        by="",
        predicted=0,
        failed=cells.failed,
        withheld=0,
        rows=tuple(make_row(p, classes, mode=mode if _saw_source(p) else "none", seed=recipe.seed) for p in scored),
        tests=paired_tests(scored),
        mode=mode,
        unscored=len(cells.paths) - len(known),
        site=None,
    )


def _saw_source(predictions: Predictions) -> bool:
    """Return whether images of the source took part in what made the predictions, at the study or here."""
    return predictions.images != ORIGINAL or predictions.classifier == ONE_CLASSIFIER


def _refitted(
    finished: FinishedStudy, read: Callable[[int], NewCells], crop: NewCrop, out: Path
) -> tuple[list[Answers], Model | None]:
    """Fit the study's ensemble to other cells; write the normalizers and color tables, and remove trained networks.

    Returns the predictions, and a normalizer, which has the profiles of both sites; None without a normalizer.

    An interrupted call is resumed from the hidden folder `FITTING` if the study and the cells are the same.
    """
    kept: list[Answers] = []
    normalizers: list[Path] = []

    def work(folder: Path) -> None:
        fitted, answers = finished.refitted(read, folder, Fabric(accelerator="auto", devices=1))
        claim(out / PREDICTED_CLASSES)
        normalizers[:] = fitted.save_normalizers(out).values()
        for table in folder.glob("*.json"):
            if _is_table(table.name):
                copy_file(table, out / table.name)
        kept.extend(answers)

    finished.check_ensemble()
    inputs = {
        "recipe": finished.recipe.model_dump(mode="json"),
        "cells": read(finished.recipe.ensemble_px).hashes,
        "crop_px": crop.crop_px,
        "members": sha256_of(finished.study.ensemble() / MEMBERS_FILE),
    }
    shutil.rmtree(Stages(out).run(FITTING, inputs, work))
    if not kept:  # an earlier call was stopped after the work and before its folder was removed
        shutil.rmtree(Stages(out).run(FITTING, inputs, work))
    return kept, open_model(normalizers[0]) if normalizers else None


def _finished(study: Path) -> Path:
    if is_adapt_run(study):
        raise InputError(
            f"expected the folder of a finished study, got a run of `hemabridge adapt`; run `hemabridge run {study} "
            "IMAGES OUT`, which gives each image a class"
        )
    if not StudyFolder(study).results.is_file():
        raise InputError(f"expected the folder of a finished study, got {study} without results.json; run the study")
    return study


def _check_own(out: Path) -> None:
    """Check that a folder is new or empty, or holds only files of an earlier call."""
    names = names_in(out)
    written = {PREDICTED_CLASSES, PREDICTIONS, ANSWER_FILE, *(f"{name}.json" for name in NORMALIZERS)}
    others = {name for name in names - written if not _is_table(name)}
    check_outputs(out, others if is_table(out / PREDICTED_CLASSES) else names)


def _is_table(name: str) -> bool:
    return name.startswith(f"{LEARNED_LUT}-") and name.endswith(".json")


def _predictions(answers: Answers, cells: NewCells, known: NDArray[np.intp], site: str) -> Predictions:
    return Predictions(
        site=site,
        part="new",
        classifier=answers.classifier,
        images=answers.images,
        snapshot=answers.snapshot,
        labels_used=answers.labels_used,
        ids=tuple(cells.paths[place] for place in known),
        truth=cells.labels[known],
        probabilities=answers.probabilities[known],
    )


def _fitted_on(recipe: StudyRecipe, study: Path, source: Site) -> set[str]:
    """Return the hashes of all cells that the study trained or fitted anything on."""
    target = read_settled(recipe.target, study, with_images=False)
    unseen = ["test"] if recipe.mode == "strict" else []
    further = (read_settled(site, study, with_images=False) for site in recipe.further_targets)
    parts = [(source, unseen), (target, ["validation", "test"]), *((site, unseen[:0]) for site in further)]
    return {h for site, left in parts for h in site.manifest.select(~pl.col("split").is_in(left)).column("sha256")}
