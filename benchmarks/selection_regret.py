"""Does `hemabridge select` pick a good snapshot? Small CycleGANs between hospitals, scored with labels afterwards.

    python benchmarks/selection_regret.py --out runs/selection-regret [--pairs yellow-field,tecom] [--seeds 0,1,2,3,4]

A pair is a source: `tecom`, real cells whose target is Hospital Clínic, or a hospital of `hemabridge simulate`, whose
target is `clinic-like`. A translator of 64 px is trained for each pair and seed, with ten snapshots. Selection sees the
cells that the translator saw, without labels, and the target's, and asks two classifiers of the target that see color
and six that see shape alone. Only then the labels of other cells of the source say how many of them the two name
correctly after each snapshot: their mean is a snapshot's accuracy. Regret is the best snapshot's accuracy minus the
selected one's. `labels of seen` is what a choice by the labels of the cells that the selection sees would lose: no rule
without labels can be asked for less. All is kept in --out: a second call goes on where the first was stopped. What was
trained and scored there is not done again; only the selection is, so that a changed rule (or another --most-refused) is
scored on the same snapshots.
"""

import argparse
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.data.stain_augmentation import StainAugmentationConfig
from hemabridge.imaging.scale import resize_square
from hemabridge.models import open_model
from hemabridge.models.selection_file import Selection
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import prepare_site, read_site
from hemabridge.sampling import evenly_spaced
from hemabridge.selection.choice_picture import pareto_png
from hemabridge.selection.choose import Measured, select_snapshot
from hemabridge.selection.measure import Ruler
from hemabridge.selection.rule import RuleConfig
from hemabridge.storage.stages import Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import Snapshot, list_snapshots
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.train import train_translator
from hemabridge.workflows.selection.select import SnapshotLimits

REAL = "tecom"
REAL_CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
SIMULATED_CLASSES = ("lymphocyte", "reactive_lymphocyte", "abnormal_lymphocyte", "blast")
CROP_PX = {"clinic": 180, REAL: 90}
TRANSLATOR = PRESETS["cyclegan-demo"].config.model_copy(
    update={
        "epoch_images": 60,
        "constant_epochs": 5,
        "decay_epochs": 5,
        "learning_rate": 5e-4,
        "snapshot_every_epochs": 1,
    }
)
"""The demo's CycleGAN in fewer steps at a higher rate, with ten snapshots."""
CLASSIFIER_SEEDS = (0, 1)
SHAPE_SEEDS = (0, 1, 2, 3, 4, 5)
MEASURED_CELLS = 150
PAPERS_EPOCH, PAPERS_EPOCHS = 15, 200
WAYS = ("selected", "last epoch", "epoch 15 of 200", "random", "labels of seen")
WITHIN = 0.02
FABRIC = start_fabric("cpu")


@dataclass(frozen=True, eq=False)
class Pair:
    """A source and its target, at `load_px`; `seen` and `scored` are cells of the source."""

    name: str
    target: CellSet
    seen: CellSet
    scored: CellSet
    stages: Stages
    weights: Path

    def cells(self, name: str) -> CellSet:
        """Return `target`, `seen` or `scored` at the size that translators re-stain."""
        return _resized(getattr(self, name), TRANSLATOR.crop_px)

    @cached_property
    def classifiers(self) -> list[SnapshotClassifier]:
        """The target's classifiers, trained once; they learn no colors but the target's."""
        return [self._trained("classifier", seed, {"epochs": 3}) for seed in CLASSIFIER_SEEDS]

    @cached_property
    def shape_members(self) -> list[SnapshotClassifier]:
        """Those that see shape alone, as in `recipes/recommended.toml`, trained once."""
        shape = {"epochs": 2, "view": "shape", "stain_augmentation": StainAugmentationConfig(stain=0.0, contrast=0.5)}
        return [self._trained("shape", seed, shape) for seed in SHAPE_SEEDS]

    def _trained(self, name: str, seed: int, settings: dict[str, Any]) -> SnapshotClassifier:
        start = self.weights if self.weights.is_file() else None
        config = ClassifierConfig(
            architecture="mobilenetv2_100", weights=start, size_px=64, frozen_epochs=0, learning_rate=1e-3, **settings
        )
        target = self.cells("target")
        inputs = {"config": config.model_dump(mode="json"), "target": list(target.hashes), "seed": seed}
        folder = self.stages.run(
            f"{'clinic' if self.name == REAL else TARGET}/{name}-{seed}",
            inputs,
            lambda folder: fine_tune(config, target, folder, FABRIC, seed=seed),
            drop_checkpoints,
        )
        return open_model(list_snapshots(folder)[-1].path).classifier

    def snapshots(self, seed: int) -> list[Snapshot]:
        """Return the snapshots of a translator, trained once."""
        inputs = {
            "config": TRANSLATOR.model_dump(mode="json"),
            "cells": [list(self.seen.hashes), list(self.target.hashes)],
        }
        folder = self.stages.run(
            f"{self.name}/{seed}",
            inputs,
            lambda f: train_translator(TRANSLATOR, self.seen, self.target, f, FABRIC, seed=seed),
            drop_checkpoints,
        )
        return list_snapshots(folder)


def read_pair(name: str, stages: Stages, data: Path, weights: Path) -> Pair:
    """Return the cells of a pair."""
    if name == REAL:
        target, source = (_real(site, stages, data) for site in ("clinic", REAL))
        return Pair(name, target["train"], source["train"], source["test"], stages, weights)
    counts = {"target": (TARGET, 150, 1), "seen": (name, 60, 2), "scored": (name, 100, 3)}
    cells = {part: _simulated(*spec) for part, spec in counts.items()}
    return Pair(name, cells["target"], cells["seen"], cells["scored"], stages, weights)


def _real(site: str, stages: Stages, data: Path) -> dict[str, CellSet]:
    spec = SiteRecipe(site=site, folder=data / site, crop_px=CROP_PX[site])
    parts = {"train": 0.5, "test": 0.5}
    done = prepare_site(spec, read_site(spec), REAL_CLASSES, parts, seed=0, stages=stages)
    return {part: done.cells((part,), REAL_CLASSES, TRANSLATOR.load_px, lambda *_: None) for part in parts}


def _simulated(hospital: str, per_class: int, seed: int) -> CellSet:
    images, labels = simulate_cells(SIMULATED_CLASSES, per_class, HOSPITALS[hospital], seed, TRANSLATOR.load_px)
    ids = tuple(f"{hospital}-{seed}-{number}" for number in range(len(images)))
    return CellSet(images, labels, SIMULATED_CLASSES, ids, ids, TRANSLATOR.load_px)


def _resized(cells: CellSet, size_px: int) -> CellSet:
    return replace(cells, images=np.stack([resize_square(image, size_px) for image in cells.images]))


def accuracies(pair: Pair, seed: int, part: str = "scored") -> list[float]:
    """Return the accuracy of each snapshot on the scored cells, or on those seen: the mean over the classifiers."""
    cells = pair.cells(part)

    def work(folder: Path) -> None:
        found = []
        for snapshot in pair.snapshots(seed):
            images = open_model(snapshot.path).cell_standardizer().standardize(cells.images)
            answers = [one.probabilities(images).argmax(axis=1) for one in pair.classifiers]
            found.append(float(np.mean([np.mean(answer == cells.labels) for answer in answers])))
        (folder / "accuracies.json").write_text(json.dumps(found), encoding="utf-8")

    trained = [str(pair.snapshots(seed)[-1].path), list(cells.hashes), CLASSIFIER_SEEDS]
    folder = pair.stages.run(f"{pair.name}/{seed}-{part}", {part: trained}, work)
    found: list[float] = json.loads((folder / "accuracies.json").read_text(encoding="utf-8"))
    return found


def selection(pair: Pair, seed: int, rule: RuleConfig) -> Selection:
    """Return what `hemabridge select` would find: no label is looked at, and no scored cell."""
    source, target = _some(pair.cells("seen")), _some(pair.cells("target"))
    first = pair.classifiers[0]
    ruler = Ruler(
        source.images,
        target.images,
        features=first.features,
        classifiers=pair.classifiers,
        shape_members=pair.shape_members,
    )
    snapshots = pair.snapshots(seed)
    limits = SnapshotLimits(snapshots[0].path.parent.parent, target, set(pair.target.hashes))
    measured = []
    for snapshot in snapshots:
        model = open_model(snapshot.path)
        images = model.cell_standardizer().standardize(source.images)
        readings = ruler.read(images, limits.of(model))
        measured.append(Measured(snapshot.name, model.sha256, snapshot.images, readings))
    facts = {"cells of the source": len(source), "cells of the target": len(target)}
    run = f"{pair.name}, seed {seed}"
    found = select_snapshot(run, ruler, measured, rule, facts)
    folder = pair.stages.folder / pair.name
    (folder / f"selection-{seed}.json").write_text(found.to_json(), encoding="utf-8")
    (folder / f"selection-{seed}.png").write_bytes(pareto_png(found, rule.most_refused))
    return found


def _some(cells: CellSet) -> CellSet:
    return cells.subset(evenly_spaced(len(cells), MEASURED_CELLS, ends=True))


def regrets(found: Selection, scores: list[float], on_seen: list[float]) -> dict[str, float]:
    """Return the best accuracy minus that of each way to choose; none chosen counts as the worst snapshot."""
    names = [row.snapshot for row in found.snapshots]
    chosen = scores[names.index(found.chosen)] if found.chosen else min(scores)
    images = np.array([row.images for row in found.snapshots])
    share = int(np.abs(images / images[-1] - PAPERS_EPOCH / PAPERS_EPOCHS).argmin())
    named = {
        "selected": chosen,
        "last epoch": scores[-1],
        "epoch 15 of 200": scores[share],
        "random": float(np.mean(scores)),
        "labels of seen": scores[int(np.argmax(on_seen))],
    }
    return {name: max(scores) - value for name, value in named.items()}


def main() -> None:
    """Train, select, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/selection-regret"))
    parser.add_argument("--pairs", default="yellow-field,tecom")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights/mobilenetv2_100_imagenet.safetensors"))
    parser.add_argument("--most-refused", type=float, default=RuleConfig().most_refused, help="floor of the rule")
    spec = parser.parse_args()
    rule = RuleConfig(most_refused=spec.most_refused)
    stages = Stages(spec.out)
    pairs = {name: read_pair(name, stages, spec.data, spec.weights) for name in spec.pairs.split(",")}
    found = []
    print(f"{'run':24s} {'best':>6s}" + "".join(f"{way:>17s}" for way in WAYS) + "   selected (won), regret in points")
    for seed in map(int, spec.seeds.split(",")):
        for pair in pairs.values():
            chosen, scores = selection(pair, seed, rule), accuracies(pair, seed)
            lost = regrets(chosen, scores, accuracies(pair, seed, "seen"))
            found.append(lost)
            name = f"{chosen.chosen} ({chosen.row(chosen.chosen).won:.0%})" if chosen.chosen else "none"
            name += f"; {sum(row.fit for row in chosen.snapshots)} of {len(chosen.snapshots)} above the floor"
            figures = "".join(f"{100 * lost[way]:17.1f}" for way in WAYS)
            print(f"{chosen.run:24s} {max(scores):6.3f}{figures}   {name}", flush=True)
    for way in WAYS:
        within = sum(lost[way] <= WITHIN for lost in found)
        mean = 100 * np.mean([lost[way] for lost in found])
        print(f"{way}: within {100 * WITHIN:.0f} points of the best in {within} of {len(found)} runs; mean {mean:.1f}")


if __name__ == "__main__":
    main()
