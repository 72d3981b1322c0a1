"""Block 1 of the paper in a study: the translator, and what it and the normalizers make of the source."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hemabridge.data.cells import CellSet
from hemabridge.errors import RecipeError
from hemabridge.normalizers.catalog import fit_normalizer
from hemabridge.progress import prefixed
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.catalog import method_name
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.train import train_translator
from hemabridge.workflows.restained import Restained, read_restained, restain, restain_back
from hemabridge.workflows.study_inputs import SOURCE, TARGET, StudyInputs


class StudyTranslation:
    """Trains the translator, and re-stains the source with each tested snapshot and each normalizer."""

    def __init__(self, inputs: StudyInputs) -> None:
        self.inputs, self.recipe, self.stages = inputs, inputs.recipe, inputs.stages

    def run(self) -> list[Restained]:
        """Return the source's cells as each normalizer, then each tested snapshot, re-stains them."""
        snapshots = self._translator()
        parts = {part: self.inputs.cells(SOURCE, part) for part in ("train", "test")}
        normalized = [self._normalized(name, parts) for name in self.recipe.normalizers]
        return normalized + [self._translated(snapshot, parts) for snapshot in snapshots]

    def _translator(self) -> list[Snapshot]:
        config = self.recipe.translator
        inputs = {
            "config": config.model_dump(mode="json"),
            "source": self.inputs.source.described(),
            "target": self.inputs.target.described(),
            "mode": self.recipe.mode,
            "seed": self.recipe.seed,
        }
        folder = self.stages.run("translator", inputs, self._train_translator, drop_checkpoints)
        return snapshots_of(list_snapshots(folder), self.recipe.tested_epochs, config.batch_size)

    def _train_translator(self, folder: Path) -> None:
        config = self.recipe.translator
        train_translator(
            config,
            self.inputs.cells(SOURCE, *self.inputs.seen_parts, size_px=config.load_px),
            self.inputs.cells(TARGET, "train", size_px=config.load_px),
            folder,
            self.inputs.fabric,
            seed=self.recipe.seed,
            progress=prefixed(self.inputs.progress, "translator"),
        )

    def _translated(self, snapshot: Snapshot, parts: Mapping[str, CellSet]) -> Restained:
        def work(folder: Path) -> None:
            restain(NeuralStandardizer.from_snapshot(snapshot.path), parts, folder)
            restain_back(snapshot, self.inputs.cells(TARGET, "test"), folder)

        inputs = {
            "translator": self.stages.key("translator"),
            "cells": self.inputs.source.listed(),
            "size_px": self.recipe.size_px,
        }
        done = read_restained(parts, self.stages.run(f"restained/{snapshot.name}", inputs, work))
        seen = frozenset(read_header(snapshot.path)["seen"])
        return Restained(method_name(self.recipe.translator.model), snapshot, done["train"], done["test"], seen)

    def _normalized(self, name: str, parts: Mapping[str, CellSet]) -> Restained:
        source = self.inputs.cells(SOURCE, *self.inputs.seen_parts)
        target = self.inputs.cells(TARGET, "train")

        def work(folder: Path) -> None:
            normalizer = fit_normalizer(name, source.images, target.images)
            (folder / "normalizer.json").write_text(normalizer.to_json(), encoding="utf-8")
            restain(normalizer, parts, folder)

        inputs = {
            "normalizer": name,
            "source": self.inputs.source.described(),
            "target": self.inputs.target.described(),
            "cells": self.inputs.source.listed(),
            "mode": self.recipe.mode,
            "size_px": self.recipe.size_px,
        }
        done = read_restained(parts, self.stages.run(f"restained/{name}", inputs, work))
        return Restained(name, None, done["train"], done["test"], frozenset((*source.hashes, *target.hashes)))


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
