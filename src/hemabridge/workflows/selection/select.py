"""`hemabridge select`: measure every snapshot of a run on cells that are not scored, and choose one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet, load_cells, sampled
from hemabridge.data.manifest import Manifest
from hemabridge.ensemble.members import MEMBERS_FILE, Members, classifiers_of
from hemabridge.errors import InputError, ModelError, RecipeError
from hemabridge.imaging.scale import CropPx
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.models.model import Model, Site
from hemabridge.models.open import open_translator
from hemabridge.models.selection_file import FILE, PICTURE, Selection
from hemabridge.models.study_folder import StudyFolder, cells_file, selection_stage
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import StudyRecipe, TranslatorRecipe
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.sites import read_settled, read_site
from hemabridge.selection.choice_picture import pareto_png
from hemabridge.selection.choose import Measured, select_snapshot
from hemabridge.selection.descriptor import describe
from hemabridge.selection.measure import Ruler
from hemabridge.selection.morphology_floor import MEASURE
from hemabridge.selection.readers import read_reader_scores
from hemabridge.selection.rule import RuleConfig
from hemabridge.storage.files import atomic_write
from hemabridge.storage.locks import hold_folder
from hemabridge.storage.run_folder import RECIPE
from hemabridge.storage.stages import Stages
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.workflows.selection.guard_limits import SnapshotLimits
from hemabridge.workflows.study.restained import read_images

CELLS = 200
"""At most so many cells of each site are measured."""


@dataclass(frozen=True, eq=False)
class Run:
    """What selection takes from a run folder.

    Attributes:
        name: the recipe's.
        snapshots: oldest first.
        source: cells of the source that are not scored.
        part: which part of the source they are.
        target: cells of the target that are not scored.
        classifiers: of a study, by name: those that see color.
        shape_members: of a study, by name: those that see shape only.
        labeled: whether the source's cells have classes that the classifiers know.
    """

    name: str
    snapshots: list[Snapshot]
    source: CellSet
    part: str
    target: CellSet
    classifiers: dict[str, Classifier]
    shape_members: dict[str, Classifier]
    labeled: bool


def select(
    folder: Path,
    *,
    rule: RuleConfig | None = None,
    cells: int = CELLS,
    labels: bool = False,
    readers: Path | None = None,
    progress: Progress = silent,
) -> Selection:
    """Measure every snapshot of a translator, choose one, and write `selection.json` and `selection.png`.

    The cells are those of the source's part `validation` if it has one, else of its training part, never of the part
    that is scored; the results say how many of them the translator was trained on.

    Args:
        folder: the folder of a study, or of `hemabridge train` of a translator.
        rule: the rule's constants.
        cells: at most so many cells of each site are measured.
        labels: choose by the error of the study's classifiers on the source's labels, in place of the stain.
        readers: CSV with the columns snapshot and accepted, the share of cells that readers accepted.
        progress: told of each snapshot.

    Raises:
        InputError: no such run, too few cells, or no labels or classifiers to use.
        RunError: another process works in the folder.
    """
    config = rule or RuleConfig()
    with hold_folder(_existing(folder)):
        scores = {} if readers is None else read_reader_scores(readers, _names(folder))
        run = read_run(folder, cells, progress)
        if labels and not (run.labeled and run.classifiers):
            raise InputError(
                f"expected labeled cells and classifiers to choose by labels, got a run without them: {folder}; "
                "leave --labels out, or select on the folder of a study"
            )
        features, features_name = _features(run)
        ruler = Ruler(
            run.source.images,
            run.target.images,
            features=features,
            classifiers=tuple(run.classifiers.values()),
            shape_members=tuple(run.shape_members.values()),
            labels=run.source.labels if labels else None,
        )
        limits = SnapshotLimits(folder, run.target, _seen(run))
        measured = _measure(folder, run, ruler, limits, scores, progress)
        facts = _facts(run, ruler, limits, features_name, labels)
        found = select_snapshot(run.name, ruler, measured, config, facts)
        _write(found, config, folder)
    return found


def read_run(folder: Path, cells: int = CELLS, progress: Progress = silent) -> Run:
    """Read what selection needs of a run folder.

    Raises:
        InputError: it is not the folder of a translator between two sites, or its images are gone.
    """
    recipe = read_recipe(folder / RECIPE)
    if isinstance(recipe, StudyRecipe):
        return _read_study(recipe, folder, cells, progress)
    if isinstance(recipe, TranslatorRecipe):
        return _read_training(recipe, folder, cells, progress)
    raise RecipeError(
        f"expected the run of a translator between two sites, or a study, got kind = {recipe.kind!r}: {folder}"
    )


def _existing(folder: Path) -> Path:
    if not (folder / RECIPE).is_file():
        raise InputError(
            f"expected the folder of a study or of a translator's training, with recipe.toml, got "
            f"{'another folder' if folder.is_dir() else 'none'}: {folder}"
        )
    return folder


def _read_study(recipe: StudyRecipe, folder: Path, cells: int, progress: Progress) -> Run:
    snapshots = _snapshots(StudyFolder(folder).translator)
    source, target = (read_settled(site, folder) for site in (recipe.source, recipe.target))
    classes = recipe.classes or tuple(sorted(set(source.manifest.column("class"))))
    part = "validation" if "validation" in source.manifest.column("split") else "train"
    load = partial(_load, classes=classes, size_px=recipe.size_px, count=cells, progress=progress)
    classifiers, shape_members = _classifiers(recipe, folder, classes)
    return Run(
        name=recipe.name,
        snapshots=snapshots,
        source=load(source.name, source.manifest.select(pl.col("split") == part), crop_px=source.crop_px),
        part=part,
        target=load(
            target.name,
            target.manifest.select(pl.col("split").is_in(("train", "validation"))),
            crop_px=target.crop_px,
        ),
        classifiers=classifiers,
        shape_members=shape_members,
        labeled=True,
    )


def _read_training(recipe: TranslatorRecipe, folder: Path, cells: int, progress: Progress) -> Run:
    snapshots = _snapshots(folder)
    last = open_translator(snapshots[-1].path)
    manifests = [read_site(site, progress) for site in (recipe.source, recipe.target)]
    unscored = [manifest.select(pl.col("split") != "test") for manifest in manifests]
    part = "validation" if "validation" in unscored[0].column("split") else "all but test"
    if part == "validation":
        unscored[0] = unscored[0].select(pl.col("split") == "validation")
    sides: tuple[Site, Site] = ("source", "target")
    found = [
        _load(
            site.site,
            manifest,
            classes=tuple(sorted(set(manifest.column("class")) - {""})),
            size_px=recipe.translator.crop_px,
            count=cells,
            crop_px=last.crop(side).crop_px,
            progress=progress,
        )
        for site, manifest, side in zip((recipe.source, recipe.target), unscored, sides, strict=True)
    ]
    return Run(recipe.name, snapshots, found[0], part, found[1], {}, {}, labeled=False)


def _snapshots(folder: Path) -> list[Snapshot]:
    found = list_snapshots(folder)
    if not found:
        raise ModelError(f"expected the snapshots of a translator, got none in {folder}; train first")
    return found


def _names(folder: Path) -> list[str]:
    own = StudyFolder(folder).translator
    return [snapshot.name for snapshot in _snapshots(own if own.is_dir() else folder)]


def _load(
    site: str,
    manifest: Manifest,
    *,
    classes: Sequence[str],
    size_px: int,
    count: int,
    crop_px: CropPx,
    progress: Progress,
) -> CellSet:
    label = partial(progress, f"reading {site} at {size_px} px")
    return load_cells(sampled(manifest, count), classes=classes, size_px=size_px, crop_px=crop_px, progress=label)


def _classifiers(
    recipe: StudyRecipe, folder: Path, classes: tuple[str, ...]
) -> tuple[dict[str, Classifier], dict[str, Classifier]]:
    """Return the study's classifiers that see color, and its shape members; an ensemble holds all of these.

    One that is not trained yet is left out.
    """
    found: dict[str, Classifier] = {}
    shape_members: dict[str, Classifier] = {}
    study = StudyFolder(folder)
    for spec in recipe.classifiers:
        if spec.external is not None:
            found[spec.name] = align_classes(load_external(spec.external), classes)
        elif list_snapshots(own := study.classifier(spec.name)):
            kind = shape_members if spec.train is not None and spec.train.view == "shape" else found
            kind[spec.name] = align_classes(open_model(own).classifier, classes)
    if (study.ensemble() / MEMBERS_FILE).is_file():
        members = classifiers_of(Members.load(study.ensemble(), folder, found).shape)
        of_ensemble = {f"shape {number}": align_classes(one, classes) for number, one in enumerate(members, 1)}
        shape_members = of_ensemble or shape_members
    return found, shape_members


def _features(run: Run) -> tuple[Any, str]:
    """Return the features for KID and AUC, and their name: the first network's, else color and texture."""
    for name, classifier in run.classifiers.items():
        if isinstance(classifier, NetworkClassifier):
            return classifier.features, f"the classifier {name}"
    return describe, "color and texture"


def _seen(run: Run) -> set[str]:
    """Return the hashes of the files that the translator was trained on."""
    return set(open_translator(run.snapshots[-1].path).header.seen)


def _measure(
    folder: Path, run: Run, ruler: Ruler, limits: SnapshotLimits, scores: dict[str, float], progress: Progress
) -> list[Measured]:
    measured = []
    for number, snapshot in enumerate(run.snapshots, 1):
        model = open_translator(snapshot.path)
        images = _restained(folder, model, run.source)
        readings = ruler.read(images, limits.of(model))
        measured.append(Measured(snapshot.name, model.sha256, snapshot.images, readings, scores.get(snapshot.name)))
        progress("measuring snapshots", number, len(run.snapshots))
    return measured


def _restained(folder: Path, model: Model, cells: CellSet) -> UInt8Images:
    """Re-stain the cells, or read what an earlier call re-stained."""

    def work(out: Path) -> None:
        images = model.cell_standardizer().standardize(cells.images)
        np.save(out / cells_file("restained"), images, allow_pickle=False)

    inputs = {
        "snapshot": model.sha256,
        "cells": cells.hashes,
        "crop_px": cells.crop_px,
        "size_px": cells.images.shape[1],
    }
    done = Stages(folder).run(selection_stage(model.path.stem), inputs, work)
    return read_images(done / cells_file("restained"), len(cells))


def _facts(run: Run, ruler: Ruler, limits: SnapshotLimits, features: str, labels: bool) -> dict[str, Any]:
    seen = _seen(run)
    return {
        "part of the source": run.part,
        "cells of the source": len(run.source),
        "of which the translator was trained on": sum(digest in seen for digest in run.source.hashes),
        "cells of the target": len(run.target),
        "compartments": list(ruler.measured),
        "features": features,
        "structure": MEASURE,
        "limits of the guard from": limits.learned_from,
        "classifiers": list(run.classifiers),
        "shape members": list(run.shape_members),
        "labels of the source used": labels,
    }


def _write(found: Selection, config: RuleConfig, folder: Path) -> None:
    picture = pareto_png(found, config.most_refused)
    with atomic_write(folder / PICTURE) as temporary:
        temporary.write_bytes(picture)
    with atomic_write(folder / FILE) as temporary:
        temporary.write_text(found.to_json(), encoding="utf-8")
