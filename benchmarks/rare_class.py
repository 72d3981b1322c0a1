"""The rare-class learning curve of synthetic cells. Cells of Hospital Clínic, of one class only a few, and a test set.

    python benchmarks/rare_class.py --out runs/rare-class [--seeds 0,1,2] [--real 5,10,20,50,100] [--images 2000]

Each arm adds one thing to n real promyelocytes and 250 cells of each common class: augmentation, oversampling,
150 synthetic cells of a CycleGAN (monocyte to promyelocyte) that saw only those n, 150 further real ones. As many real
cells of each class are held out for the test, without near duplicates of training cells. The table is printed;
`learning-curve.json` and `learning-curve.svg` lie in --out. A second call
goes on where the first was stopped, and one with more seeds
or numbers adds them: about 17 minutes of one core for each seed of five numbers.
"""

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.data.cells import CellSet
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest
from hemabridge.progress import silent
from hemabridge.recipes.learning_curve import LearningCurveRecipe
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import prepare_site
from hemabridge.report.learning_curve import learning_curve_svg
from hemabridge.storage.files import atomic_write
from hemabridge.storage.stages import Stages
from hemabridge.synthesis.learning_curve import LearningCurve, LearningCurveRow, Score, in_words
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.synthesis.learning_curve_stage import LoadCells, measure_learning_curve

SHARED = Path(__file__).resolve().parents[2] / "shared"
RARE, SOURCE = "promyelocyte", "monocyte"
CLASSES = ("lymphocyte", SOURCE, "neutrophil", RARE)
NEUTROPHILS = ("segmented_neutrophil", "band_neutrophil")
SITE = SiteRecipe(site="clinic", folder=SHARED / "data" / "clinic", crop_px=180)
PARTS = {"train": 0.75, "test": 0.25}
WEIGHTS = SHARED / "weights" / "mobilenetv2_100_imagenet.safetensors"


def main() -> None:
    """Measure what is missing, print the table and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/rare-class"))
    parser.add_argument("--seeds", type=_numbers, default=(0, 1, 2))
    parser.add_argument("--real", type=_numbers, default=(5, 10, 20, 50, 100))
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    recipe = LearningCurveRecipe(
        rare=RARE,
        source=SOURCE,
        real=arguments.real,
        seeds=arguments.seeds,
        images=arguments.images,
        classifier=ClassifierConfig(
            architecture="mobilenetv2_100",
            weights=WEIGHTS,
            size_px=64,
            epochs=2,
            frozen_epochs=0,
            learning_rate=1e-3,
        ),
    )
    learning_curve = measure_learning_curve(
        recipe,
        _clinic(arguments.out),
        arguments.out,
        start_fabric("cpu"),
        name="rare-class",
        site=SITE.site,
        progress=_Told(),
    )
    with atomic_write(arguments.out / "learning-curve.svg") as temporary:
        temporary.write_bytes(learning_curve_svg(learning_curve))
    print(_table(learning_curve))
    for sentence in in_words(learning_curve):
        print(sentence)


def _clinic(out: Path) -> LoadCells:
    assert SITE.folder is not None  # stated above
    found = index_folder(SITE.folder, SITE.site, subclasses=True).manifest
    merged = pl.col("class").replace(dict.fromkeys(NEUTROPHILS, "neutrophil"))
    manifest = Manifest(found.table.with_columns(merged), found.root)
    site = prepare_site(SITE, manifest, CLASSES, PARTS, seed=0, stages=Stages(out))

    @cache
    def load(part: str, size_px: int) -> CellSet:
        cells = site.cells((part,), CLASSES, size_px, silent)
        order = np.argsort(cells.ids)
        return replace(cells.subset(order), classes=CLASSES)

    return load


class _Told:
    """Prints each training once, when it begins."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, label: str, _done: int, _total: int) -> None:
        if label != self.last:
            self.last = label
            print(label, flush=True)


def _table(learning_curve: LearningCurve) -> str:
    lines = [
        f"| real {learning_curve.rare}s | arm | balanced accuracy | over {'/'.join(('nothing', 'usual'))} | recall of "
        f"{learning_curve.rare} | over the same |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(_line(row) for row in learning_curve.rows)])


def _line(row: LearningCurveRow) -> str:
    cells = (
        str(row.real),
        row.arm if not row.added else f"{row.arm} (+{row.added})",
        _percent(row.balanced_accuracy),
        _points(row.balanced_gain),
        _percent(row.recall),
        _points(row.recall_gain),
    )
    return f"| {' | '.join(cells)} |"


def _percent(score: Score) -> str:
    low, high = score.interval
    return f"{100 * score.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _points(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = score.interval
    return f"{100 * score.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
