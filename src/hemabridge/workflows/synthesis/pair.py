"""One pair of classes: train both directions, choose a snapshot of each, make synthetic cells and measure them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.data.cells import CellSet
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.restaining import TranslatorModel
from hemabridge.progress import prefixed
from hemabridge.recipes.synthesis import PairRecipe
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.synthesis.likeness import called, choose, kernel_distance
from hemabridge.synthesis.pair_results import Direction, DirectionResults, PairResults, SnapshotCheck
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.translators.train import train_translator
from hemabridge.workflows.synthesis.fidelity import Classifiers, measure_direction
from hemabridge.workflows.synthesis.inputs import SynthesisInputs
from hemabridge.workflows.synthesis.scoring_classifiers import SECOND, scorer_of, scorer_stage
from hemabridge.workflows.synthesis.synthetic_cells import SyntheticCells, make_cells, read_cells

DIRECTIONS: Final[tuple[Direction, ...]] = ("to_target", "to_source")
MEASURED: Final = "measured.json"
_CHECKS: Final = TypeAdapter(tuple[SnapshotCheck, ...])
_RESULTS: Final = FileKind("the measures of a finished stage", remedy="remove its folder")


class PairSynthesis:
    """The stages of one pair, in a folder of its name."""

    def __init__(self, inputs: SynthesisInputs, pair: PairRecipe, second: SnapshotClassifier) -> None:
        self.inputs, self.pair, self.recipe, self.stages = inputs, pair, inputs.recipe, inputs.stages
        self.classifiers = Classifiers(scorer_of(inputs, pair), second)
        self.snapshots = self._train()

    def run(self) -> PairResults:
        """Do all stages that are not finished, and return the results."""
        return PairResults(
            name=self.pair.name,
            source_class=self.pair.source,
            target_class=self.pair.target,
            cells=self.inputs.counts(self.pair.source, self.pair.target),
            directions=tuple(self.measured(direction) for direction in DIRECTIONS),
        )

    def classes(self, direction: Direction) -> tuple[str, str]:
        """Return the class of the sources, and the intended class."""
        own, other = self.pair.source, self.pair.target
        return (own, other) if direction == "to_target" else (other, own)

    def chosen(self, direction: Direction) -> Snapshot:
        """Return the snapshot whose generator makes the cells of one direction."""
        name = choose(self.checks(direction)).snapshot
        return next(snapshot for snapshot in self.snapshots if snapshot.name == name)

    def opened(self, snapshot: Snapshot) -> TranslatorModel:
        """Return the model of a snapshot."""
        model = self.inputs.opened(snapshot.path)
        assert isinstance(model, TranslatorModel)  # `train_translator` wrote it
        return model

    def cells(self, direction: Direction) -> SyntheticCells:
        """Return the synthetic cells of one direction, made from held-out sources."""
        source, intended = self.classes(direction)
        sources, snapshot = self.inputs.cells("test", source), self.chosen(direction)
        model = self.opened(snapshot)
        work = partial(make_cells, model, direction, sources, intended, self.inputs.site, self.recipe.name)
        described = self._described() | {"snapshot": snapshot.name, "ids": sources.ids, "recipe": self.recipe.name}
        return read_cells(self.stages.run(f"{self.pair.name}/{direction}", described, work), sources)

    def checks(self, direction: Direction) -> tuple[SnapshotCheck, ...]:
        """Return the scores of each snapshot by the second classifier, on cells of the validation part."""

        def work(folder: Path) -> None:
            found = [self._check(snapshot, direction) for snapshot in self.snapshots]
            _write_json(folder / MEASURED, [asdict(check) for check in found])

        described = self._described() | {"direction": direction, "second": self.stages.key(SECOND)}
        folder = self.stages.run(f"{self.pair.name}/choice/{direction}", described, work)
        return _RESULTS.read_as(folder / MEASURED, _CHECKS)

    def _train(self) -> list[Snapshot]:
        config = self.recipe.translator

        def work(folder: Path) -> None:
            source, target = (
                self.inputs.cells("train", name, size_px=config.load_px)
                for name in (self.pair.source, self.pair.target)
            )
            progress = prefixed(self.inputs.progress, self.pair.name)
            train_translator(
                config, source, target, folder, self.inputs.fabric, seed=self.recipe.seed, progress=progress
            )

        described = {
            "config": config.model_dump(mode="json"),
            "pair": [self.pair.source, self.pair.target],
            "site": self.inputs.site.described(),
            "order": self.inputs.site.listed(),
            "seed": self.recipe.seed,
        }
        folder = self.stages.run(f"{self.pair.name}/translator", described, work, drop_checkpoints)
        return list_snapshots(folder)

    def _described(self) -> dict[str, Any]:
        return {
            "translator": self.stages.key(f"{self.pair.name}/translator"),
            "site": self.inputs.site.described(),
            "size_px": self.recipe.size_px,
        }

    def _check(self, snapshot: Snapshot, direction: Direction) -> SnapshotCheck:
        source, intended = self.classes(direction)
        second = self.classifiers.second
        model = self.opened(snapshot)
        made = translated(model, direction, self.inputs.cells("validation", source))
        real = self.inputs.cells("validation", intended)
        return SnapshotCheck(
            snapshot=snapshot.name,
            images=model.header.images,
            intended=called(second.probabilities(made), second.classes.index(intended)),
            kid=kernel_distance(second.features(made), second.features(real.images)).value,
        )

    def measured(self, direction: Direction) -> DirectionResults:
        """Return the measures of the synthetic cells of one direction."""
        checks, made = self.checks(direction), self.cells(direction)
        model = self.opened(self.chosen(direction))

        def work(folder: Path) -> None:
            found = measure_direction(
                direction=direction,
                classes=self.classes(direction),
                checks=checks,
                model_sha256=model.sha256,
                made=made,
                classifiers=self.classifiers,
                inputs=self.inputs,
            )
            _write_json(folder / MEASURED, asdict(found))

        described = self._described() | {
            "scorer": self.stages.key(scorer_stage(self.pair)),
            "second": self.stages.key(SECOND),
            "snapshot": model.sha256,
            "checks": [asdict(check) for check in checks],
        }
        folder = self.stages.run(f"{self.pair.name}/measured/{direction}", described, work)
        return _RESULTS.read_as(folder / MEASURED, TypeAdapter(DirectionResults))


def translated(model: TranslatorModel, direction: Direction, cells: CellSet | UInt8Images) -> UInt8Images:
    """Return cells, translated by a snapshot's generator."""
    images = cells if isinstance(cells, np.ndarray) else cells.images
    return model.cell_standardizer(direction).standardize(images)


def _write_json(path: Path, data: dict[str, Any] | Sequence[Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, allow_nan=False), encoding="utf-8")
