"""`hemabridge adapt`: from one's own labeled cells and another hospital's images to a classifier and a re-stainer."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, TypeAdapter

from hemabridge.classifiers.config import ClassifierConfig, SemiSupervisedConfig
from hemabridge.classifiers.network import load_start, new_network
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import UNKNOWN, CellSet, joined
from hemabridge.data.new_cells import crop_px_of, list_new_cells, read_new_cells
from hemabridge.data.sampling import evenly_spaced
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.domain.site_profile import FEWEST_CELLS
from hemabridge.ensemble.config import EnsembleConfig, MembersConfig
from hemabridge.ensemble.distilled import DISTILLATION, distill
from hemabridge.ensemble.fit import fit_ensemble
from hemabridge.ensemble.fitted import ORIGINAL, FittedEnsemble
from hemabridge.ensemble.members import Members, classifiers_of, train_members
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.errors import InputError, ManifestError, RunError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.guard.thresholds import FEWEST as FEWEST_FOR_LIMITS
from hemabridge.guard.thresholds import learn_normalizer_thresholds
from hemabridge.imaging.scale import CropSpec
from hemabridge.metrics.classification import balanced_accuracy, confusion_counts
from hemabridge.metrics.soft_agreement import soft_agreement
from hemabridge.models import open_model
from hemabridge.models.guard_file import guard_path
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import Site, prepare_site, read_site, refuse_shared_files, whole_site
from hemabridge.recipes.two_sites import FEWEST, MANIFEST, site_of_manifest
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, folder_name, sha256_of
from hemabridge.storage.run_folder import check_apart, check_run_folder, describe_run, hold_folder
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import RunContext, start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import Run, run
from hemabridge.workflows.adapt.certainty import quantiles_of, unknown_limit
from hemabridge.workflows.guard import LEARNED_FROM, guard_of

ARCHITECTURE: Final = "mobilenetv2_100"
CELL_PX: Final = 96
"""Side of the cells, cut from the original images."""
PARTS: Final = {"train": 0.9, "test": 0.1}
FEWEST_GUARDED: Final = 2 * FEWEST_FOR_LIMITS
"""With fewer of one's own cells there are no limits for the morphology guard."""
CLASSIFIER: Final = "classifier"
SUMMARY: Final = "summary.json"
RESULTS: Final = "results"
"""Holds what `hemabridge run` writes for the images that the run was adapted to."""


def members(weights: Literal["download"] | Path | None) -> tuple[MembersConfig, ...]:
    """Return which classifiers are trained: three that see color and three that see shape alone.

    They are trained as the members of `recipes/recommended.toml`; from random weights, four times as long.
    """
    common: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "weights": weights,
        "size_px": 64,
        "epochs": 2 if weights else 8,
        "epoch_images": 2336,
        "frozen_epochs": 0,
        "learning_rate": 1e-3,
    }
    color = StainAugmentationConfig(stain=0.3)
    shape = StainAugmentationConfig(stain=0.0, contrast=0.5)
    return (
        MembersConfig(count=3, train=ClassifierConfig(**common, stain_augmentation=color)),
        MembersConfig(count=3, train=ClassifierConfig(**common, view="shape", stain_augmentation=shape)),
    )


class AdaptConfig(BaseModel):
    """What is trained, and how long. The defaults are for real images; tests take less.

    Attributes:
        kind: what `recipe.toml` in the run folder describes.
        members: the classifiers.
        ensemble: how they are fitted to the other hospital.
        distillation: how the single classifier is trained.
        cell_px: side of the cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["adapt"] = "adapt"
    members: tuple[MembersConfig, ...]
    ensemble: EnsembleConfig = EnsembleConfig()
    distillation: SemiSupervisedConfig = DISTILLATION
    cell_px: int = CELL_PX


@dataclass(frozen=True)
class _Context:
    """What all steps of one call share."""

    out: Path
    config: AdaptConfig
    seed: int
    stages: Stages
    fabric: Fabric
    progress: Progress

    def cells(self, site: Site, part: str, classes: tuple[str, ...]) -> CellSet:
        """Return one part of a site, cut from the original images."""
        return site.cells((part,), classes, self.config.cell_px, self.progress)

    def within(self, folder: Path) -> RunContext:
        """Return the context of a training in a folder."""
        return RunContext(folder, self.fabric, self.seed, self.progress)


@dataclass(frozen=True)
class _Summary:
    """What a fit found; see `Adapted`."""

    home_accuracy: float
    same_class: float
    agreement: float
    home_agreement: float
    prevalence: tuple[float, ...]
    restainer: str
    left_out: dict[str, str]
    unknown_below: float | None
    certainties: tuple[float, ...]
    home_confusion: tuple[tuple[int, ...], ...] = ()


_SUMMARY: Final = FileKind("what a fit found", RunError, "remove its folder, and run the same command again")


def adapt(
    ours: Path,
    new: Path,
    out: Path,
    *,
    config: AdaptConfig,
    also: tuple[Path, ...] = (),
    seed: int = 0,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> tuple[Adapted, Run]:
    """Train on one's own labeled cells, fit to another hospital without labels, and classify its images.

    Args:
        ours: a folder with a folder of images for each class, or a manifest.
        new: a folder of images of single cells of the other hospital; no label is read.
        out: the run folder; the same call goes on with what was begun there.
        config: what is trained.
        also: further labeled hospitals to learn from, such as public collections.
        seed: of the split and of the trainings.
        fabric: device; the fastest one if not given.
        progress: told of each step.

    Raises:
        ManifestError: one's own images have no labels, or fewer than two classes of enough cells; or an image of the
            other hospital is among the labeled ones.
        InputError: a folder cannot be used, two labeled hospitals have one name, or there are too few new images.
        SplitError: an image is at two labeled hospitals.
        Interrupted: a signal stopped it.
    """
    check_apart(out, *(path for path in (ours, new, *also) if path.is_dir()))
    _check_weights(config)
    check_run_folder(out, config.kind)
    _check_new(new)
    with hold_folder(out):
        context = _Context(out, config, seed, Stages(out), fabric or start_fabric("auto"), progress)
        describe_run(out, config, str(context.fabric.device))
        adapted = _adapted(ours, new, also, context)
        with atomic_write(out / ADAPTED_FILE) as temporary:
            temporary.write_text(adapted.to_json(), encoding="utf-8")
        return adapted, run(out, new, out / RESULTS, progress=progress)


def _adapted(ours: Path, new: Path, also: tuple[Path, ...], context: _Context) -> Adapted:
    own, further, classes = _sites(ours, also, context)
    source = _source(new, classes, (own, *further), context)
    target, home = (context.cells(own, part, classes) for part in PARTS)
    others = tuple(context.cells(each, "train", classes) for each in further)
    trained = _train(own, target, others, context)
    folder = _fit(trained, target, source, home, context)
    summary = _SUMMARY.read_as(folder / SUMMARY, TypeAdapter(_Summary))
    return Adapted(
        classes=classes,
        target=own.name,
        source=new.resolve().name,
        target_cells=len(target),
        source_cells=len(source),
        crop_px=int(source.crop_px),
        classifier=list_snapshots(folder / CLASSIFIER)[-1].path.relative_to(context.out).as_posix(),
        normalizer=(folder / f"{summary.restainer}.json").relative_to(context.out).as_posix(),
        home_accuracy=summary.home_accuracy,
        home_scored=len(home),
        same_class=summary.same_class,
        agreement=summary.agreement,
        home_agreement=summary.home_agreement,
        prevalence=dict(zip(classes, summary.prevalence, strict=True)),
        left_out=summary.left_out,
        unknown_below=summary.unknown_below,
        certainties=summary.certainties,
        guarded=(folder / f"{summary.restainer}.guard.json").is_file(),
        pretrained=all(spec.train.weights is not None for spec in context.config.members),
        home_confusion=summary.home_confusion,
    )


def _check_weights(config: AdaptConfig) -> None:
    """Find out before any image is read that the pretrained weights cannot be had."""
    for train in {spec.train.architecture: spec.train for spec in config.members}.values():
        if train.weights is not None:
            load_start(new_network(train.architecture, train.size_px, 2, train.norm), train.architecture, train.weights)


def _check_new(new: Path) -> None:
    """Find out before any training that the folder of the other hospital lists too few images."""
    listed = list_new_cells(new, None, new.resolve().name)
    _check_count(len(listed.manifest), new)


def _check_count(count: int, new: Path) -> None:
    if count < FEWEST_CELLS:
        raise InputError(
            f"expected at least {FEWEST_CELLS} images of the other hospital, to learn what its cells look like, got "
            f"{count} that can be read in {new}; give more"
        )


def _sites(ours: Path, also: tuple[Path, ...], context: _Context) -> tuple[Site, tuple[Site, ...], tuple[str, ...]]:
    """Return one's own hospital, split, the further ones, and the classes."""
    recipe, *others = (_recipe(path) for path in (ours, *also))
    names = [folder_name(each.site) for each in (recipe, *others)]
    if len(set(names)) < len(names):
        raise InputError(
            f"expected hospitals whose names differ, got {', '.join(each.site for each in (recipe, *others))}; "
            "rename a folder, since its name is that of the hospital"
        )
    manifest = read_site(recipe, context.progress)
    counts = Counter(manifest.column("class"))
    classes = tuple(sorted(name for name, count in counts.items() if name and count >= FEWEST))
    if len(classes) < 2:
        found = ", ".join(f"{name or 'without a class'} {count}" for name, count in sorted(counts.items()))
        raise ManifestError(
            f"expected at least two classes with {FEWEST} or more cells in {ours}, got {found}; give your own labeled "
            "cells first, as a folder with a folder of images for each class"
        )
    own = prepare_site(
        recipe, manifest, classes, PARTS, seed=context.seed, stages=context.stages, progress=context.progress
    )
    further = tuple(whole_site(each, read_site(each, context.progress), classes, context.stages) for each in others)
    for one, other in combinations((own, *further), 2):
        refuse_shared_files(one, other)
    return own, further, classes


def _recipe(path: Path) -> SiteRecipe:
    if path.is_file() or (path / MANIFEST).is_file():
        return site_of_manifest(path)
    return SiteRecipe(site=path.resolve().name, folder=path.resolve())


def _source(new: Path, classes: tuple[str, ...], labeled: tuple[Site, ...], context: _Context) -> CellSet:
    """Return the cells of the other hospital; classes that its manifest or folders may state are not read."""
    listed = list_new_cells(new, None, new.resolve().name)
    crop_px = crop_px_of(listed.manifest)
    spec, check = CropSpec(crop_px, context.config.cell_px), FieldCheck.of(listed.manifest.paths())
    cells = read_new_cells(listed, classes, spec, context.progress, check.reason)
    _check_count(len(cells.paths), new)
    for site in labeled:
        shared = set(cells.hashes) & set(site.manifest.column("sha256"))
        if shared:
            raise ManifestError(
                f"expected other images in {new} than among the labeled cells of {site.name}, got {len(shared)} "
                "that are in both; take them out of one"
            )
    unknown = np.full(len(cells.paths), UNKNOWN, np.int64)
    return CellSet(cells.images, unknown, classes, cells.paths, cells.hashes, crop_px)


def _train(own: Site, target: CellSet, others: tuple[CellSet, ...], context: _Context) -> Members:
    inputs = {
        "members": [spec.model_dump(mode="json") for spec in context.config.members],
        "target": own.described(),
        "others": [list(cells.hashes) for cells in others],
        "seed": context.seed,
    }

    def work(folder: Path) -> None:
        trained = train_members(Members(()), context.config.members, target, context.within(folder), others)
        trained.save(folder, context.out)

    folder = context.stages.run("members", inputs, work, drop_checkpoints)
    return Members.load(folder, context.out, {}, joined(target, others))


def _fit(trained: Members, target: CellSet, source: CellSet, home: CellSet, context: _Context) -> Path:
    """Fit the ensemble, keep what it predicts, distill it, and choose a re-stainer; return the folder."""
    inputs = {
        "members": context.stages.key("members"),
        "source": list(source.hashes),
        "crop_px": source.crop_px,
        "config": [
            context.config.ensemble.model_dump(mode="json"),
            context.config.distillation.model_dump(mode="json"),
        ],
    }

    def work(folder: Path) -> None:
        own = context.within(folder)
        fitted = fit_ensemble(trained, source, target, context.config.ensemble, own)
        fitted.save(folder, context.out)
        context.progress("classifying", 0, 1)
        color, shape = fitted.group_predictions(source.images)
        prediction = fitted.pooled(color, shape)
        snapshot = distill(
            fitted, source, prediction, context.config.distillation, own.within(CLASSIFIER, "one classifier")
        )
        classifier = open_model(snapshot).classifier
        at_home, there = (classifier.probabilities(cells.images) for cells in (home, source))
        predicted = at_home.argmax(axis=1).astype(np.int64)
        confusion = confusion_counts(home.labels, predicted, len(home.classes))
        summary = _Summary(
            home_accuracy=balanced_accuracy(home.labels, predicted, len(home.classes)),
            home_confusion=tuple(map(tuple, confusion.tolist())),
            same_class=float((there.argmax(axis=1) == prediction.argmax(axis=1)).mean()),
            agreement=_agreement(color, shape),
            home_agreement=_agreement(*fitted.predict_with({ORIGINAL: home.images}, None)),
            prevalence=tuple(prediction.mean(axis=0, dtype=np.float64).tolist()),
            restainer=_best_restainer(fitted, source, prediction),
            left_out=dict(fitted.left_out),
            unknown_below=unknown_limit(at_home.max(axis=1), there.max(axis=1)),
            certainties=quantiles_of(there.max(axis=1)),
        )
        path = folder / f"{summary.restainer}.json"
        some = target.images[evenly_spaced(len(target), LEARNED_FROM)]
        if len(some) >= FEWEST_GUARDED:
            guard_of(sha256_of(path), learn_normalizer_thresholds(summary.restainer, some), some).write(
                guard_path(path)
            )
        with atomic_write(folder / SUMMARY) as temporary:
            temporary.write_text(json.dumps(asdict(summary)), encoding="utf-8")

    return context.stages.run("model", inputs, work, drop_checkpoints)


def _agreement(color: Probabilities, shape: Probabilities | None) -> float:
    return 1.0 if shape is None else soft_agreement(shape, color)


def _best_restainer(fitted: FittedEnsemble, source: CellSet, prediction: Probabilities) -> str:
    """Return the normalizer on whose images color members, with the target's statistics, agree best with the ensemble.

    Such images look like the target's to them: that is what a re-stained image is for.
    """
    members = classifiers_of(fitted.color_members)
    agreement = {
        name: soft_agreement(prediction, mean_prediction(members, images, mirrored=False))
        for name, images in fitted.inputs(source.images)
        if name != ORIGINAL
    }
    if not agreement:
        raise ManifestError(
            "expected a re-stainer that makes plausible colors, got none: "
            f"{'; '.join(f'{name}: {fault}' for name, fault in fitted.left_out.items())}; look at both folders' images"
        )
    return max(agreement, key=agreement.__getitem__)
