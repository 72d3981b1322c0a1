"""The cells, snapshots and classifiers that selection takes from the folder of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.protocol import Classifier, align_classes
from hemabridge.data.cells import CellSet, load_cells, sampled
from hemabridge.data.manifest import Manifest
from hemabridge.ensemble.members import MEMBERS_FILE
from hemabridge.ensemble.saved import SavedMembers
from hemabridge.errors import ModelError, RecipeError
from hemabridge.imaging.scale import CropPx
from hemabridge.models.model import Site
from hemabridge.models.open import OpenModels, open_translator
from hemabridge.models.restaining import TranslatorModel
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.sites import read_settled, read_site
from hemabridge.recipes.trainings import TranslatorRecipe
from hemabridge.storage.run_folder import RECIPE
from hemabridge.training.snapshots import Snapshot, last_snapshot, list_snapshots, snapshot_files

CELLS = 200
"""Largest number of cells of each site that are measured."""


@dataclass(frozen=True, eq=False)
class Run:
    """The content of a run folder that selection uses.

    Attributes:
        name: of the recipe.
        snapshots: oldest first.
        last: the last of them, opened.
        source: cells of the source that are not scored.
        part: name of the part of the source that they belong to.
        target: cells of the target that are not scored.
        classifiers: of a study, by name: those of color images.
        shape_members: of a study, by name: classifiers with `view = "shape"`.
        labeled: whether the source's cells have classes of the classifiers.
    """

    name: str
    snapshots: list[Snapshot]
    last: TranslatorModel
    source: CellSet
    part: str
    target: CellSet
    classifiers: dict[str, Classifier]
    shape_members: dict[str, Classifier]
    labeled: bool


def read_run(folder: Path, cells: int = CELLS, progress: Progress = silent) -> Run:
    """Read the snapshots, cells and classifiers of a run folder.

    Raises:
        InputError: it is not the folder of a translator between two sites, or its images are missing.
    """
    recipe = read_recipe(folder / RECIPE)
    if isinstance(recipe, StudyRecipe):
        return _read_study(recipe, folder, cells, progress)
    if isinstance(recipe, TranslatorRecipe):
        return _read_training(recipe, folder, cells, progress)
    raise RecipeError(
        f"expected the run of a translator between two sites, or a study, got kind = {recipe.kind!r}: {folder}"
    )


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
        last=open_translator(snapshots[-1].path),
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
    return Run(recipe.name, snapshots, last, found[0], part, found[1], {}, {}, labeled=False)


def _snapshots(folder: Path) -> list[Snapshot]:
    found = list_snapshots(folder)
    if not found:
        raise ModelError(f"expected the snapshots of a translator, got none in {folder}; train first")
    return found


def snapshot_names(folder: Path) -> list[str]:
    """Return the names of the snapshots of a study's translator, or of a training, oldest first.

    Raises:
        ModelError: there are none, or one is damaged.
    """
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
    """Return the study's classifiers of color images, and its shape members, those of its ensemble if there is one.

    Classifiers that are not trained yet are omitted.
    """
    study, opened = StudyFolder(folder), OpenModels()

    def aligned(file: Path) -> Classifier:
        return align_classes(opened(file).classifier, classes)

    found: dict[str, Classifier] = {}
    shape_members: dict[str, Classifier] = {}
    for spec in recipe.classifiers:
        if spec.external is not None:
            found[spec.name] = align_classes(load_external(spec.external), classes)
        elif files := snapshot_files(study.classifier(spec.name)):
            kind = shape_members if spec.train is not None and spec.train.view == "shape" else found
            kind[spec.name] = aligned(last_snapshot(files))
    saved = study.ensemble() / MEMBERS_FILE
    if saved.is_file():
        shape = SavedMembers.read(saved).shape_files(study.path)
        shape_members = {f"shape {place}": aligned(file) for place, file in enumerate(shape, 1)} or shape_members
    return found, shape_members
