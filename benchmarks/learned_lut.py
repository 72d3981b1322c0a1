"""What can a learned color table do for a frozen classifier, and what not?

    python benchmarks/leave_one_out.py --out runs/leave-one-out --sources tecom --targets 1 --starts 0
    python benchmarks/learned_lut.py --out runs/leave-one-out --source tecom --start 0

Three MobileNetV2 of the Clinic classify cells of a hospital that was left out: that of `recipes/recommended.toml`, the
same without stain augmentation, and that of `recipes/clinic-from-tecom.toml`, which stands for a network of another
program. A table is learned on every other cell, and scored on the rest:

- `learned-lut`: from the ensemble's predictions, as a study does;
- `true labels`: from the labels, with the same settings;
- `true labels, free`: from the labels, for twice as long and almost without penalties on its shifts. No color table
  does much better on the cells that it learned from. If that is low, colors alone cannot help the classifier.

Balanced accuracy on the cells that a table learned from, on the others, and recall of each class on all; then on the
Clinic's own cells held out, as they are and blurred.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import LearnedLutConfig
from hemabridge.ensemble.lut_learning import learn_lut_from
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.classification import balanced_accuracy, recall_per_class
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import RunContext
from leave_one_out import PREDICTIONS
from recommended_bench import FABRIC, STARTS_APART, Bench, new_bench, real_site

FREE = LearnedLutConfig(images=7680, nearness=0.1, smoothness=4.0)
OTHER = "MobileNetV2 (external)"
BLURS = (0.01, 0.02)
"""Standard deviations of the blur, as shares of the image's side."""
DRAWN = 300
"""Images of the target from which the first table is fitted."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--other", type=Path, default=Path("recipes/clinic-from-tecom.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/leave-one-out"))
    parser.add_argument("--source", default="tecom")
    parser.add_argument("--start", type=int, default=0)
    spec = parser.parse_args()
    bench = new_bench(expect_kind(read_recipe(spec.recipe), StudyRecipe), spec.out, spec.data)
    site = real_site(bench, spec.source, spec.data)
    parts = tuple(sorted(set(site.manifest.column("split"))))
    cells = site.cells(parts, bench.classes, bench.recipe.ensemble_px, lambda *_: None)
    with np.load(spec.out / "figures" / f"{spec.source}-{spec.start}" / PREDICTIONS) as kept:
        prediction = kept["ensemble"]
    print(f"| classifier | images | learned | other cells | {' | '.join(bench.classes)} |")
    print("| --- | --- |" + " ---: |" * (2 + len(bench.classes)))
    classifiers = dict(_classifiers(bench, spec.other, spec.start))
    for name, classifier in classifiers.items():
        for images, shown in _restained(bench, classifier, name, cells, prediction, spec.start):
            found = classifier.probabilities(shown).argmax(axis=1)
            halves = [_balanced(cells, found, first) for first in (0, 1)]
            recalls = recall_per_class(cells.labels, found, bench.classes)
            figures = [f"{value:.3f}" for value in (*halves, *(recalls[kind] for kind in bench.classes))]
            print(f"| {name} | {images} | {' | '.join(figures)} |", flush=True)
    home = bench.cells(bench.target, "test", bench.recipe.ensemble_px)
    blurred = [f"home, blur of {100 * blur:.1f} % of the side" for blur in BLURS]
    print(f"\n| classifier | home | {' | '.join(blurred)} |\n| --- | ---: |" + " ---: |" * len(BLURS))
    for name, classifier in classifiers.items():
        sets = [home.images, *(_blurred(home.images, blur * home.images.shape[1]) for blur in BLURS)]
        found = [classifier.probabilities(images).argmax(axis=1) for images in sets]
        figures = [f"{balanced_accuracy(home.labels, one, len(home.classes)):.3f}" for one in found]
        print(f"| {name} | {' | '.join(figures)} |")


def _classifiers(bench: Bench, other: Path, start: int) -> Iterator[tuple[str, NetworkClassifier]]:
    members, _ = bench.members(start)
    own = members.color[0].classifier
    assert isinstance(own, NetworkClassifier)
    yield "recommended", own
    yield "recommended, without stain augmentation", bench.plain(start)
    recipe = expect_kind(read_recipe(other), StudyRecipe)
    (config,) = (each.train for each in recipe.classifiers if each.name == OTHER)
    assert config is not None
    snapshot, _ = bench.classifier("other", config, STARTS_APART * start)
    yield other.stem, open_model(snapshot).classifier


def _blurred(images: UInt8Images, sigma: float) -> UInt8Images:
    blurred: UInt8Images = gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")
    return blurred


def _restained(
    bench: Bench, classifier: NetworkClassifier, name: str, cells: CellSet, prediction: Probabilities, start: int
) -> Iterator[tuple[str, UInt8Images]]:
    target = bench.target_cells()
    classes = len(bench.classes)
    drawn = target.images[target.drawn(np.full(classes, 1.0 / classes), DRAWN, np.random.default_rng(0))]
    learned = cells.subset(np.arange(0, len(cells), 2))
    yield "original", cells.images
    yield "linear-ot", fit_on_cells("linear-ot", learned.images, drawn).standardize(cells.images)
    truth = np.eye(classes, dtype=np.float32)[cells.labels]
    for images, config, wanted in (
        ("learned-lut", LearnedLutConfig(), prediction),
        ("true labels", LearnedLutConfig(), truth),
        ("true labels, free", FREE, truth),
    ):
        folder = bench.stages.folder / "tables" / f"{name}-{images}-{start}".replace(" ", "-")
        context = RunContext(folder, FABRIC, STARTS_APART * start)
        table = learn_lut_from(config, classifier, learned, wanted[::2], drawn, context)
        yield images, table.standardize(cells.images)


def _balanced(cells: CellSet, found: np.ndarray, first: int) -> float:
    return balanced_accuracy(cells.labels[first::2], found[first::2], len(cells.classes))


if __name__ == "__main__":
    main()
