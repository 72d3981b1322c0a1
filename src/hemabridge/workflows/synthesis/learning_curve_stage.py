"""The rare-class learning curve: classifiers that learn from few real cells, with one addition in each arm.

The default recipe trains 5 numbers of real cells x 7 arms x 3 seeds = 105 classifiers on 2,000 images each, and 5 x 3 =
15 generators on 1,500 images each. On one core that is about 15 and 90 seconds each, 50 minutes in total.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.data.cells import CellSet
from hemabridge.imaging.provenance import SyntheticOrigin
from hemabridge.models import open_model
from hemabridge.progress import Progress, prefixed, silent
from hemabridge.recipes.learning_curve import LearningCurveRecipe
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.storage.stages import Stages
from hemabridge.synthesis.learning_curve import FILE, LearningCurve, LearningCurveRow, score_arms
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.train import train_translator
from hemabridge.workflows.synthesis.learning_curve_cells import (
    Draw,
    balanced,
    draw_cells,
    joined,
    label_of,
    read_cells,
    write_cells,
)

LoadCells: TypeAlias = Callable[[str, int], CellSet]
"""Returns the labeled cells of a part (`train`, `test`) at a side in pixels; the same cells at every size."""

_PREDICTED: Final = "predicted.json"
_PREDICTIONS: Final = FileKind("the predictions of a finished stage", remedy="remove its folder")
_SYNTHETIC: Final = ("synthetic", "usual and synthetic")
_BALANCED: Final = ("oversampled", "usual", "usual and synthetic")
_AUGMENTED: Final = ("augmented", "usual", "usual and synthetic")


@dataclass(frozen=True)
class _Surroundings:
    """Folder, device and names of a learning curve; see `measure_learning_curve`."""

    folder: Path
    fabric: Fabric
    name: str
    site: str
    progress: Progress


@dataclass(frozen=True)
class _Predicted:
    """The test cells of one arm, and the index of the class that its classifier predicts for each."""

    ids: tuple[str, ...]
    predicted: tuple[int, ...]


_PREDICTED_AS: Final = TypeAdapter(_Predicted)


def measure_learning_curve(
    recipe: LearningCurveRecipe,
    load: LoadCells,
    folder: Path,
    fabric: Fabric,
    *,
    name: str,
    site: str,
    progress: Progress = silent,
) -> LearningCurve:
    """Train a classifier in each arm, for each number of real cells and seed, and score all on the same real cells.

    A generator learns from the real cells of its own number and seed, and from the source's training cells. An
    interrupted call is resumed by the same call. A call with more seeds or numbers trains only what is missing. Seeds
    are processed one after the other, so that a call with fewer seeds has a whole result earlier. `FILE` is written to
    the folder.

    Args:
        recipe: the settings of the curve.
        load: returns the cells; the classifiers have all classes of a part.
        folder: folder of the stages.
        fabric: device.
        name: name of the recipe, for the origin of the synthetic cells.
        site: name of the site, for the manifest of the synthetic cells.
        progress: called before each training.

    Raises:
        ManifestError: a class is missing, or has too few cells.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    curve = _Curve(recipe, load, _Surroundings(folder, fabric, name, site, progress))
    right: dict[tuple[int, str], list[NDArray[np.bool_]]] = {}
    for seed in recipe.seeds:
        for real in recipe.real:
            for arm in recipe.arms:
                right.setdefault((real, arm), []).append(curve.right(seed, real, arm))
    rows = [row for real in recipe.real for row in _rows(curve, right, real)]
    learning_curve = curve.described(rows)
    with atomic_write(folder / FILE) as temporary:
        temporary.write_text(learning_curve.to_json(), encoding="utf-8")
    return learning_curve


def _rows(curve: "_Curve", right: dict[tuple[int, str], list[NDArray[np.bool_]]], real: int) -> list[LearningCurveRow]:
    recipe = curve.recipe
    added = {arm: recipe.added for arm in recipe.arms if arm in (*_SYNTHETIC, "real")}
    stacked = {arm: np.stack(right[real, arm]) for arm in recipe.arms}
    return score_arms(curve.test.labels, stacked, curve.rare, real=real, added=added)


class _Curve:
    """The stages of a curve: for each seed and number of real cells, a generator, its cells, and the arms."""

    def __init__(self, recipe: LearningCurveRecipe, load: LoadCells, around: _Surroundings) -> None:
        self.recipe, self.around = recipe, around
        self.fabric, self.progress = around.fabric, around.progress
        self.stages = Stages(around.folder)
        self.load = cache(load)
        self.train = self.load("train", recipe.classifier.size_px)
        self.rare, self.source = (label_of(self.train, name) for name in (recipe.rare, recipe.source))
        self.test = balanced(self.load("test", recipe.classifier.size_px), recipe.test_cells)

    def right(self, seed: int, real: int, arm: str) -> NDArray[np.bool_]:
        """Return bool[N]: whether the classifier of one arm classifies each test cell correctly."""
        inputs: dict[str, Any] = {
            "seed": seed,
            "arm": arm,
            "classifier": self._classifier(arm).described(),
            "cells": [self.train.hashes[place] for place in self._learned(seed, real, arm)],
            "crop_px": self.train.crop_px,
            "test": list(self.test.hashes),
        }
        if arm in _SYNTHETIC:
            inputs["synthetic"] = self.stages.key(self._synthetic(seed, real))
        work = partial(self._train_arm, seed, real, arm)
        place = f"{_place(seed, real)}/{arm.replace(' ', '-')}"
        path = self.stages.run(place, inputs, work, _drop_snapshots) / _PREDICTED
        predicted = _PREDICTIONS.read_as(path, _PREDICTED_AS).predicted
        if len(predicted) != len(self.test):
            raise _PREDICTIONS.damaged(path, f"predictions of {len(predicted)} cells instead of {len(self.test)}")
        found: NDArray[np.bool_] = np.array(predicted) == self.test.labels
        return found

    def described(self, rows: list[LearningCurveRow]) -> LearningCurve:
        """Return the rows with the settings and numbers of cells behind them."""
        classes = self.train.classes
        common = np.bincount(self.train.labels[self._draw(self.recipe.seeds[0]).common], minlength=len(classes))
        tested = np.bincount(self.test.labels, minlength=len(classes))
        return LearningCurve(
            rare=self.recipe.rare,
            source=self.recipe.source,
            classes=classes,
            common_cells={
                name: n for name, n in zip(classes, common.tolist(), strict=True) if name != self.recipe.rare
            },
            test_cells=dict(zip(classes, tested.tolist(), strict=True)),
            images=self.recipe.images,
            generator_images=self.recipe.generator_images,
            seeds=self.recipe.seeds,
            rows=tuple(rows),
        )

    def _draw(self, seed: int) -> Draw:
        extra = self.recipe.added if "real" in self.recipe.arms else 0
        return draw_cells(
            self.train.labels,
            rare=self.rare,
            source=self.source,
            most_common=self.recipe.common_cells,
            wanted=max(self.recipe.real) + extra,
            seed=seed,
        )

    def _learned(self, seed: int, real: int, arm: str) -> NDArray[np.int64]:
        """Return the indices of the real cells that one classifier learns from."""
        draw = self._draw(seed)
        return np.concatenate([draw.common, draw.rare[: real + (self.recipe.added if arm == "real" else 0)]])

    def _classifier(self, arm: str) -> ClassifierConfig:
        config = self.recipe.classifier
        changes = {
            "augment": False,
            "stain_augmentation": self.recipe.augmentation if arm in _AUGMENTED else None,
            "balanced": arm in _BALANCED,
            "epoch_images": max(1, self.recipe.images // config.epochs),
        }
        return config.model_copy(update=changes)

    def _train_arm(self, seed: int, real: int, arm: str, folder: Path) -> None:
        cells = self.train.subset(self._learned(seed, real, arm))
        if arm in _SYNTHETIC:
            cells = joined(cells, read_cells(self.stages.folder / self._synthetic(seed, real), cells, self.rare))
        label = f"{real} real cells, {arm} (seed {seed})"
        snapshot = fine_tune(
            self._classifier(arm), cells, folder, self.fabric, seed=seed, progress=prefixed(self.progress, label)
        )
        found = open_model(snapshot).classifier.probabilities(self.test.images).argmax(axis=1)
        with atomic_write(folder / _PREDICTED) as temporary:
            temporary.write_text(json.dumps({"ids": self.test.ids, "predicted": found.tolist()}), encoding="utf-8")

    def _generator(self, seed: int, real: int) -> str:
        draw = self._draw(seed)
        config = self.recipe.generator

        def work(folder: Path) -> None:
            cells = self.load("train", config.load_px)
            source, rare = (cells.subset(places) for places in (draw.source, draw.rare[:real]))
            label = prefixed(self.progress, f"generator of {real} real cells (seed {seed})")
            train_translator(config, source, rare, folder, self.fabric, seed=seed, progress=label)

        stage = f"{_place(seed, real)}/generator"
        inputs = {
            "config": config.model_dump(mode="json", exclude={"watchdog"}),
            "seed": seed,
            "source": [self.train.hashes[place] for place in draw.source],
            "rare": [self.train.hashes[place] for place in draw.rare[:real]],
            "crop_px": self.train.crop_px,
        }
        self.stages.run(stage, inputs, work, drop_checkpoints)
        return stage

    def _synthetic(self, seed: int, real: int) -> str:
        """Make the synthetic cells of one seed and number, once; return the name of their stage."""
        generator, sources = self._generator(seed, real), self._sources(seed)
        snapshot = list_snapshots(self.stages.folder / generator)[-1].path

        def work(folder: Path) -> None:
            cells = self.train.subset(sources)
            model = open_model(snapshot)
            images = model.cell_standardizer().standardize(cells.images)
            origins = [SyntheticOrigin(model.sha256, digest, self.around.name) for digest in cells.hashes]
            write_cells(folder, images, origins, class_name=self.recipe.rare, site=self.around.site)

        stage = f"{_place(seed, real)}/cells"
        inputs = {
            "generator": self.stages.key(generator),
            "sources": sources.tolist(),
            "name": self.around.name,
            "site": self.around.site,
        }
        self.stages.run(stage, inputs, work)
        return stage

    def _sources(self, seed: int) -> NDArray[np.int64]:
        """Return the indices of the source cells to translate; equally often each if there are too few."""
        return np.resize(self._draw(seed).source, self.recipe.added)


def _place(seed: int, real: int) -> str:
    return f"seed-{seed}/real-{real}"


def _drop_snapshots(folder: Path) -> None:
    """Remove the snapshots of a classifier, of which there are a hundred; predictions and events are kept."""
    drop_checkpoints(folder)
    for snapshot in list_snapshots(folder):
        snapshot.path.unlink()
