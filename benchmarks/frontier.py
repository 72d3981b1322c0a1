"""How does accuracy at a hospital that was left out depend on resolution, and which cells stay wrong?

    python benchmarks/leave_one_out.py --out runs/leave-one-out --sources bccd,tecom,raabin --targets 1
    python benchmarks/frontier.py --out runs/leave-one-out [--sizes 32,64,96,128] [--starts 0]

One color member and one shape member of the recommended recipe learn from the Clinic's cells at each size. The first
table is the balanced accuracy of these two on all labeled cells of each hospital: on the images as they came, of the
color member, of the shape member, and of the ensemble that is fitted with them without labels. The second part lists
the cells that the first command's predictions (mean of ensemble and one classifier) get wrong with every start that it
kept, with their labels and what they are taken for. Curves over members and labels are those of `ensemble_parts.py` and
`few_labels.py`.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.members import Member, Members
from hemabridge.ensemble.pooling import with_one_classifier
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import RunContext
from leave_one_out import ALONE, PREDICTIONS, scored_cells
from recommended_bench import FABRIC, REAL_SITES, STARTS_APART, Bench, new_bench, real_site

ARMS = ("color, original", "shape, original", "both, original", "ensemble")
ROW = "{:>8s} {:16s} " + "{:>7s} " * (len(REAL_SITES) + 1)


def main() -> None:
    """Print both parts."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/leave-one-out"))
    parser.add_argument("--sizes", default="32,64,96,128", help="side of the cells in the networks, pixels")
    parser.add_argument("--starts", default="0", help="random starts of the members at each size")
    spec = parser.parse_args()
    bench = new_bench(expect_kind(read_recipe(spec.recipe), StudyRecipe), spec.out, spec.data)
    _print_wrong(bench, spec.data)
    print(ROW.format("size", "", *REAL_SITES, "mean"))
    for size in (int(each) for each in spec.sizes.split(",")):
        runs = [_kept(bench, spec.data, size, int(start)) for start in spec.starts.split(",")]
        for arm in ARMS:
            means = [float(np.mean([one[name][arm] for one in runs])) for name in REAL_SITES]
            print(ROW.format(f"{size} px", arm, *(f"{value:.3f}" for value in (*means, np.mean(means)))), flush=True)


def _kept(bench: Bench, data: Path, size: int, start: int) -> dict[str, dict[str, float]]:
    """Return the accuracies of two members of one size at each hospital, worked out once."""
    seed = STARTS_APART * start
    color, shape = (_trained(bench, view, size, seed) for view in ("color", "shape"))
    cells_px = max(size, bench.recipe.ensemble_px)
    found: dict[str, dict[str, float]] = {}
    for name in REAL_SITES:

        def work(folder: Path, name: str = name) -> None:
            site = real_site(bench, name, data)
            parts = tuple(sorted(set(site.manifest.column("split"))))
            seen = site.cells(parts, bench.classes, cells_px, lambda *_: None)
            target = bench.cells(bench.target, "train", cells_px)
            members = Members((Member.of_snapshot(color, target),), (Member.of_snapshot(shape, target),))
            fitted = fit_ensemble(members, seen, target, bench.config, RunContext(folder, FABRIC, seed))
            by_color, by_shape = (
                each.classifier.probabilities(seen.images) for each in (*members.color, *members.shape)
            )
            predicted = (by_color, by_shape, fitted.predict_target(seen.images), fitted.predict(seen.images))
            figures = {arm: _accuracy(seen, each) for arm, each in zip(ARMS, predicted, strict=True)}
            (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")

        inputs = {"members": [str(path.relative_to(bench.stages.folder)) for path in (color, shape)], "px": cells_px}
        folder = bench.stages.run(f"frontier/{name}-{size}-{start}", inputs, work)
        found[name] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return found


def _trained(bench: Bench, view: str, size: int, seed: int) -> Path:
    """Return the snapshot of the recipe's color or shape member, trained at one size."""
    (config,) = (spec.train for spec in bench.config.members if spec.train.view == view)
    sized: ClassifierConfig = config.model_copy(update={"size_px": size})
    return bench.classifier(f"{view}-{size}px", sized, seed)[0]


def _accuracy(cells: CellSet, prediction: Probabilities) -> float:
    return balanced_accuracy(cells.labels, prediction.argmax(axis=1), len(cells.classes))


def _print_wrong(bench: Bench, data: Path) -> None:
    """Print the cells of each hospital that are wrong with every start."""
    for name in REAL_SITES:
        cells = scored_cells(bench, name, data)[1]
        starts = sorted(bench.stages.folder.glob(f"figures/{name}-[0-9]"))
        wrong = [_wrong(bench, folder.name, cells) for folder in starts]
        always = [one for one in wrong[0] if all(one in other for other in wrong[1:])]
        confused: Counter[str] = Counter(f"{label} taken for {taken}" for _, label, taken in always)
        print(
            f"{name}: {len(always)} of {len(cells)} cells are wrong in the same way with each of {len(starts)} starts"
        )
        for what, count in confused.most_common():
            print(
                f"  {count:3d} {what}: {', '.join(path for path, *both in always if ' taken for '.join(both) == what)}"
            )


def _wrong(bench: Bench, row: str, cells: CellSet) -> list[tuple[str, ...]]:
    with np.load(bench.stages.folder / f"figures/{row}" / PREDICTIONS) as kept:
        ensemble = kept["ensemble"]
    with np.load(bench.stages.folder / f"distilled/{row}" / PREDICTIONS) as kept:
        predicted = with_one_classifier(ensemble, kept[ALONE]).argmax(axis=1)
    rows = np.flatnonzero(predicted != cells.labels)
    return [(cells.ids[row], cells.classes[cells.labels[row]], cells.classes[predicted[row]]) for row in rows]


if __name__ == "__main__":
    main()
