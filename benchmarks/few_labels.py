"""What do a few labels of a hospital add? `python benchmarks/few_labels.py`, after `benchmarks/leave_one_out.py`.

The cells are those of `leave_one_out.py`, in the same --out, whose ensembles were fitted to them without labels. As
`hemabridge label` does, cells are chosen, here with --choices random seeds, and get their true labels. All figures are
balanced accuracies on the cells that were not chosen: of the ensemble, of its mean with the one classifier (what
`label` begins from after `hemabridge adapt`), and of these predictions after they were corrected by the labels.
`--classifier` also trains the classifier that learns, with the first choice.
"""

import argparse
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
    bench = new_bench(expect_kind(read_recipe(spec.recipe), StudyRecipe), spec.out, spec.data)
    print(f"{'':10s} start labels  wrong  mean (lowest to highest) of {spec.choices} choices: {'; '.join(ARMS)}")
    for name in spec.sources.split(","):
        _, cells = scored_cells(bench, name, spec.data)
        for start in (int(each) for each in spec.starts.split(",")):
            _print_hospital(bench, name, cells, start, spec)


def _print_hospital(bench: Bench, name: str, cells: CellSet, start: int, spec: argparse.Namespace) -> None:
    with np.load(spec.out / f"figures/{name}-{start}" / PREDICTIONS) as kept:
        ensemble, labels = kept["ensemble"], kept["labels"]
    with np.load(spec.out / f"distilled/{name}-{start}" / PREDICTIONS) as kept:
        both = with_one_classifier(ensemble, kept[ALONE])
    members, _ = bench.members(start)
    features, subdomains = _features(bench, name, start, members, cells), _subdomains(cells)
    for count in (int(each) for each in spec.labels.split(",")):
        found, wrong = [], []
        for seed in range(spec.choices):
            rng = np.random.default_rng(seed)
            chosen = cells_to_label(both, features, subdomains, count, rng)
            given = np.full(len(labels), -1)
            given[chosen] = labels[chosen]
            rest = np.flatnonzero(given == -1)
            predicted = [ensemble, both]
            predicted += [correct_by_labels(each, features, given).probabilities for each in (ensemble, both)]
            found.append([_accuracy(labels[rest], each[rest]) for each in predicted])
            wrong.append(int((both[chosen].argmax(axis=1) != labels[chosen]).sum()))
            if spec.classifier and seed == 0:
                _print_classifier(bench, name, cells, start, members, both, given)
        columns = np.array(found).T
        shown = "; ".join(f"{each.mean():.3f} ({each.min():.3f} to {each.max():.3f})" for each in columns)
        print(f"{name:10s} {start:5d} {count:6d} {np.mean(wrong):6.1f}  {shown}", flush=True)


def _print_classifier(
    bench: Bench, name: str, cells: CellSet, start: int, members: Members, both: NDArray[np.float32], given: NDArray
) -> None:
    count = int((given != -1).sum())
    stage = f"learned/{name}-{start}-{count}"
    inputs = {"figures": bench.stages.key(f"figures/{name}-{start}"), "labels": given.tolist()}

    def work(folder: Path) -> None:
        context = RunContext(folder, FABRIC, STARTS_APART * start)
        ensemble = FittedEnsemble(members.color, members.shape, {})
        trained = open_model(distill(ensemble, cells, both, DISTILLATION, context, given)).classifier
        home = bench.cells(bench.target, "test", bench.recipe.ensemble_px)
        rest = np.flatnonzero(given == -1)
        there = _accuracy(cells.labels[rest], trained.probabilities(cells.images)[rest])
        np.save(folder / "figures.npy", [there, _accuracy(home.labels, trained.probabilities(home.images))])

    there, home = np.load(bench.stages.run(stage, inputs, work, drop_checkpoints) / "figures.npy")
    print(f"{name:10s} {start:5d} {count:6d}         the classifier that learns {there:.3f}, at home {home:.3f}")


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
