"""Block 1 of the paper in a study: the translator, and what it and the normalizers make of the source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError, RecipeError
from hemabridge.imaging.rescaled import RescaledStandardizer
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.normalizers.catalog import fit_on_cells, read_normalizer
from hemabridge.progress import prefixed
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.objective_config import method_name
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.train import train_translator
from hemabridge.workflows.study.inputs import SOURCE, TARGET, StudyInputs
from hemabridge.workflows.study.restained import Restained, read_restained, restain, restain_back

NORMALIZER: Final = "normalizer.json"


class StudyTranslation:
    """Trains translators, and re-stains the source with each tested snapshot, each other one and each normalizer."""

    def __init__(self, inputs: StudyInputs) -> None:
        self.inputs, self.recipe, self.stages = inputs, inputs.recipe, inputs.stages

    def run(self) -> list[Restained]:
        """Return the source's cells as each normalizer, each compared translator and each tested snapshot do it."""
        recipe = self.recipe
        snapshots = self._trained("translator", recipe.translator)
        tested = snapshots_of(snapshots, recipe.tested_epochs, recipe.translator.batch_size)
        parts = {part: self.inputs.cells(SOURCE, part) for part in ("train", "test")}
        restained = [self._normalized(name, parts) for name in recipe.normalizers]
        restained += [self._compared(name, parts) for name in recipe.translators]
        return restained + [self._of_snapshot(snapshot, parts) for snapshot in tested]

    def at(self, restained: Sequence[Restained], size_px: int) -> list[Restained]:
        """Return the same re-stainings of cells that are cut from the original images at another size.

        Normalizers are applied to the larger cells as they were fitted. A translator makes its change at its own scale,
        and the detail comes from the original (`RescaledStandardizer`).
        """
        if size_px == self.recipe.size_px:
            return list(restained)
        parts = {part: self.inputs.cells(SOURCE, part, size_px=size_px) for part in ("train", "test")}
        return [self._at(each, parts, size_px) for each in restained]

    def _at(self, restained: Restained, parts: Mapping[str, CellSet], size_px: int) -> Restained:
        def work(folder: Path) -> None:
            fitted = FittedRestaining(restained.method, restained.snapshot_name, restained.model)
            standardizer = fitted.standardizer(self.recipe.size_px, size_px)
            for part, cells in parts.items():
                np.save(folder / f"{part}.npy", standardizer.standardize(cells.images), allow_pickle=False)

        inputs = {
            "restained": self.stages.key(f"restained/{restained.name}"),
            "cells": self.inputs.source.listed(),
            "size_px": size_px,
        }
        done = read_restained(parts, self.stages.run(f"restained-{size_px}px/{restained.name}", inputs, work))
        return replace(restained, train=done["train"], test=done["test"])

    def _trained(self, stage: str, config: TranslatorConfig) -> list[Snapshot]:
        inputs = {
            "config": config.model_dump(mode="json"),
            "source": self.inputs.source.described(),
            "target": self.inputs.target.described(),
            "mode": self.recipe.mode,
            "seed": self.recipe.seed,
        }

        def work(folder: Path) -> None:
            train_translator(
                config,
                self.inputs.cells(SOURCE, *self.inputs.seen_parts, size_px=config.load_px),
                self.inputs.cells(TARGET, "train", size_px=config.load_px),
                folder,
                self.inputs.fabric,
                seed=self.recipe.seed,
                progress=prefixed(self.inputs.progress, stage.replace("/", " ")),
            )

        return list_snapshots(self.stages.run(stage, inputs, work, drop_checkpoints))

    def _compared(self, preset: str, parts: Mapping[str, CellSet]) -> Restained:
        stage = f"translators/{preset}"
        last = self._trained(stage, PRESETS[preset].config)[-1]
        done = self._translated(preset, stage, last, parts)
        return Restained(preset, None, last.path, done["train"], done["test"], _seen(last))

    def _of_snapshot(self, snapshot: Snapshot, parts: Mapping[str, CellSet]) -> Restained:
        done = self._translated(snapshot.name, "translator", snapshot, parts)
        method = method_name(self.recipe.translator.model)
        return Restained(method, snapshot, snapshot.path, done["train"], done["test"], _seen(snapshot))

    def _translated(
        self, name: str, trained: str, snapshot: Snapshot, parts: Mapping[str, CellSet]
    ) -> dict[str, CellSet]:
        def work(folder: Path) -> None:
            restain(NeuralStandardizer.from_snapshot(snapshot.path), parts, folder)
            restain_back(snapshot, self.inputs.cells(TARGET, "test"), folder)

        inputs = {
            "translator": self.stages.key(trained),
            "cells": self.inputs.source.listed(),
            "size_px": self.recipe.size_px,
        }
        return read_restained(parts, self.stages.run(f"restained/{name}", inputs, work))

    def _normalized(self, name: str, parts: Mapping[str, CellSet]) -> Restained:
        source = self.inputs.cells(SOURCE, *self.inputs.seen_parts)
        target = self.inputs.cells(TARGET, "train")

        def work(folder: Path) -> None:
            normalizer = fit_on_cells(name, source.images, target.images)
            (folder / NORMALIZER).write_text(normalizer.to_json(), encoding="utf-8")
            restain(normalizer, parts, folder)

        inputs = {
            "normalizer": name,
            "source": self.inputs.source.described(),
            "target": self.inputs.target.described(),
            "cells": self.inputs.source.listed(),
            "mode": self.recipe.mode,
            "size_px": self.recipe.size_px,
        }
        folder = self.stages.run(f"restained/{name}", inputs, work)
        done, seen = read_restained(parts, folder), frozenset((*source.hashes, *target.hashes))
        return Restained(name, None, folder / NORMALIZER, done["train"], done["test"], seen)


@dataclass(frozen=True)
class FittedRestaining:
    """What a finished study re-stains with: `method` and `snapshot` as in its results, `path` of the model's file."""

    method: str
    snapshot: str | None
    path: Path

    def standardizer(self, study_px: int, size_px: int) -> Standardizer:
        """Read it, for cells of `size_px` pixels in a study whose translator sees cells of `study_px`.

        Raises:
            ModelError: the file is missing or damaged.
        """
        if self.path.suffix == ".json":
            return read_normalizer(self.path)
        return translator_at(self.path, study_px, size_px)


def translator_at(snapshot: Path, study_px: int, size_px: int) -> Standardizer:
    """Return the translator of a study, which sees cells of `study_px` pixels, for the same cells at `size_px`.

    Raises:
        ModelError: the file is missing or damaged.
    """
    translator = NeuralStandardizer.from_snapshot(snapshot)
    return translator if size_px == study_px else RescaledStandardizer(translator, study_px / size_px)


def fitted_restainings(recipe: StudyRecipe, folder: Path) -> list[FittedRestaining]:
    """Return all that a finished study re-stained with, in its order: the last is its last tested snapshot.

    Raises:
        InputError: a file is missing.
    """
    normalizers = [(name, None, folder / "restained" / name / NORMALIZER) for name in recipe.normalizers]
    compared = [(name, list_snapshots(folder / "translators" / name)) for name in recipe.translators]
    own = list_snapshots(folder / "translator")
    missing = [name for name, _, path in normalizers if not path.is_file()]
    missing += [name for name, snapshots in (*compared, ("translator", own)) if not snapshots]
    if missing:
        raise InputError(f"expected the re-stainings of a finished study, got no {', '.join(missing)} in {folder}")
    tested = snapshots_of(own, recipe.tested_epochs, recipe.translator.batch_size)
    method = method_name(recipe.translator.model)
    return [
        *(FittedRestaining(*found) for found in normalizers),
        *(FittedRestaining(name, None, snapshots[-1].path) for name, snapshots in compared),
        *(FittedRestaining(method, snapshot.name, snapshot.path) for snapshot in tested),
    ]


def _seen(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(read_header(snapshot.path)["seen"])


def snapshots_of(snapshots: Sequence[Snapshot], epochs: Sequence[int], batch_size: int) -> list[Snapshot]:
    """Return the snapshot of each epoch: that of the batch which completed it.

    Raises:
        RecipeError: an epoch has none.
    """
    found = {epoch: s for epoch in epochs for s in snapshots if _is_of(s, epoch, batch_size)}
    missing = [epoch for epoch in epochs if epoch not in found]
    if missing:
        raise RecipeError(
            f"expected tested_epochs among the snapshots' epochs {[s.epoch for s in snapshots]}, got {missing}; "
            "change tested_epochs, or snapshot_every_epochs of the translator"
        )
    return [found[epoch] for epoch in epochs]


def _is_of(snapshot: Snapshot, epoch: int, batch_size: int) -> bool:
    epoch_images = round(snapshot.images / snapshot.epoch)
    return 0 <= snapshot.images - epoch * epoch_images < batch_size
