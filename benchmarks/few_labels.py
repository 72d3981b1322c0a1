"""What do a few labels of a hospital add? `python benchmarks/few_labels.py`, after `benchmarks/leave_one_out.py`.

The cells are those of `leave_one_out.py`, in the same --out, whose ensembles were fitted to them without labels. As
`hemabridge label` does, cells are chosen, here with --choices random seeds, and get their true labels. All figures are
balanced accuracies on the cells that were not chosen: of the ensemble, of its mean with the one classifier (what
`label` begins from after `hemabridge adapt`), and of these predictions after they were corrected by the labels.
`--classifier` also trains the classifier that learns, with the first choice; it is compared with the one classifier of
`hemabridge adapt`, which saw no label. Each line has the mean, and the lowest and highest, over all starts and choices.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.cells import CellSet
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, subdomains_of
from hemabridge.ensemble.config import DISTILLATION
from hemabridge.ensemble.distilled import distill
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.label_correction import correct_by_labels
from hemabridge.ensemble.members import Members, classifiers_of
from hemabridge.ensemble.pooling import with_one_classifier
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.models import open_model
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.selection.cells_to_label import cells_to_label
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import RunContext
from hemabridge.workflows.label.hospital import MOST_SUBDOMAINS
from hemabridge.workflows.label.prediction import features_of
from leave_one_out import ALONE, PREDICTIONS, scored_cells
from recommended_bench import FABRIC, REAL_SITES, STARTS_APART, Bench, new_bench

ARMS = ("ensemble", "with the classifier", "ensemble, corrected", "with the classifier, corrected")
FEATURES = "features.npy"


def main() -> None:
    """Measure, and print a line for each hospital, start and number of labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/leave-one-out"))
    parser.add_argument("--sources", default=",".join(REAL_SITES))
    parser.add_argument("--starts", default="0")
    parser.add_argument("--labels", default="16,92", help="how many labels")
    parser.add_argument("--choices", type=int, default=8, help="random seeds of the choice")
    parser.add_argument("--classifier", action="store_true", help="train the classifier that learns the labels")
    spec = parser.parse_args()
    starts = [int(each) for each in spec.starts.split(",")]
    bench = new_bench(expect_kind(read_recipe(spec.recipe), StudyRecipe), spec.out, spec.data)
    print(f"{len(starts)} starts, {spec.choices} choices: mean (lowest to highest)")
    for name in spec.sources.split(","):
        _, cells = scored_cells(bench, name, spec.data)
        for count in (int(each) for each in spec.labels.split(",")):
            _print_labels(name, count, [_measured(bench, name, cells, start, count, spec) for start in starts])


@dataclass(frozen=True)
class Measured:
    """Balanced accuracies with one start.

    Attributes:
        found: of `ARMS`, for each choice.
        wrong: number of chosen cells of which the prediction was wrong.
        learned: of the one classifier without labels, of the one that learned them, and of this one at home; empty
            unless it was trained.
    """

    found: list[list[float]]
    wrong: list[int]
    learned: list[float]


def _measured(bench: Bench, name: str, cells: CellSet, start: int, count: int, spec: argparse.Namespace) -> Measured:
    with np.load(spec.out / f"figures/{name}-{start}" / PREDICTIONS) as kept:
        ensemble, labels = kept["ensemble"], kept["labels"]
    with np.load(spec.out / f"distilled/{name}-{start}" / PREDICTIONS) as kept:
        alone = kept[ALONE]
    both = with_one_classifier(ensemble, alone)
    members, _ = bench.members(start)
    features, subdomains = _features(bench, name, start, members, cells), _subdomains(cells)
    measured = Measured([], [], [])
    for seed in range(spec.choices):
        chosen = cells_to_label(both, features, subdomains, count, np.random.default_rng(seed))
        given = np.full(len(labels), -1)
        given[chosen] = labels[chosen]
        rest = np.flatnonzero(given == -1)
        predicted = [ensemble, both]
        predicted += [correct_by_labels(each, features, given).probabilities for each in (ensemble, both)]
        measured.found.append([_accuracy(labels[rest], each[rest]) for each in predicted])
        measured.wrong.append(int((both[chosen].argmax(axis=1) != labels[chosen]).sum()))
        if spec.classifier and seed == 0:
            measured.learned.append(_accuracy(labels[rest], alone[rest]))
            measured.learned.extend(_learned(bench, name, cells, start, members, both, given))
    return measured


def _print_labels(name: str, count: int, measured: Sequence[Measured]) -> None:
    columns = np.concatenate([each.found for each in measured]).T
    wrong = np.mean([each.wrong for each in measured])
    told = "; ".join(f"{arm} {_range(values)}" for arm, values in zip(ARMS, columns, strict=True))
    print(f"{name}, {count} labels, of which {wrong:.1f} were predicted wrongly: {told}", flush=True)
    learned = np.array([each.learned for each in measured])
    if learned.size:
        before, after, home = (_range(values) for values in learned.T)
        print(f"{name}, {count} labels: one classifier without labels {before}; that learned them {after}, home {home}")


def _range(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def _learned(
    bench: Bench, name: str, cells: CellSet, start: int, members: Members, both: NDArray[np.float32], given: NDArray
) -> list[float]:
    """Return balanced accuracies of a classifier that learns labels: on the other cells, and at home."""
    stage = f"learned/{name}-{start}-{int((given != -1).sum())}"
    inputs = {"figures": bench.stages.key(f"figures/{name}-{start}"), "labels": given.tolist()}

    def work(folder: Path) -> None:
        context = RunContext(folder, FABRIC, STARTS_APART * start)
        ensemble = FittedEnsemble(members.color, members.shape, {})
        trained = open_model(distill(ensemble, cells, both, DISTILLATION, context, given)).classifier
        home = bench.cells(bench.target, "test", bench.recipe.ensemble_px)
        rest = np.flatnonzero(given == -1)
        there = _accuracy(cells.labels[rest], trained.probabilities(cells.images)[rest])
        np.save(folder / "figures.npy", [there, _accuracy(home.labels, trained.probabilities(home.images))])

    found: list[float] = np.load(bench.stages.run(stage, inputs, work, drop_checkpoints) / "figures.npy").tolist()
    return found


def _features(bench: Bench, name: str, start: int, members: Members, cells: CellSet) -> NDArray[np.float32]:
    def work(folder: Path) -> None:
        classifiers = classifiers_of((*members.color, *members.shape))
        np.save(folder / FEATURES, features_of(classifiers, cells.images))

    inputs = {"figures": bench.stages.key(f"figures/{name}-{start}")}
    found: NDArray[np.float32] = np.load(bench.stages.run(f"features/{name}-{start}", inputs, work) / FEATURES)
    return found


def _subdomains(cells: CellSet) -> NDArray[np.intp]:
    return subdomains_of(fields_of(cells.images), MOST_SUBDOMAINS, FEWEST_IMAGES)


def _accuracy(labels: NDArray[np.int64], prediction: NDArray[np.float32]) -> float:
    return balanced_accuracy(labels, prediction.argmax(axis=1), prediction.shape[1])


if __name__ == "__main__":
    main()
