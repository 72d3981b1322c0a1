"""Does it help a translator to see each class equally often? `film` between real hospitals, drawn three ways.

    python benchmarks/class_prior.py [--sources tecom,raabin] [--seeds 0,1,2] [--out runs/recommended]

Hospitals have different class priors, by which a discriminator can tell them apart. `balance = "target"` shows the
target's classes equally often, `"both"` also the clusters of cells that are found in the source without labels. Scored
with one classifier that was trained without stain augmentation, and with those that were trained with it, as
benchmarks/leave_one_out.py trains and keeps them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.members import classifiers_of
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.metrics.classification import balanced_accuracy, recall_per_class
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from recommended_bench import CLASSES, new_bench, real_source

BALANCES = ("none", "target", "both")
ROW = "{:10s} {:10s} {:>6s} {:>7s} {:>8s} {:>6s} {:>7s} {:>8s}   {}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/leave-one-out"))
    parser.add_argument("--sources", default="tecom,raabin")
    parser.add_argument("--seeds", default="0,1,2", help="of the translator; the classifiers are those of start 0")
    spec = parser.parse_args()
    recipe = expect_kind(read_recipe(spec.recipe), StudyRecipe)
    seeds = [int(seed) for seed in spec.seeds.split(",")]
    bench = new_bench(recipe, spec.out, spec.data)
    augmented, plain = classifiers_of(bench.members(0)[0].color), [bench.plain(0)]
    print(
        f"{len(seeds)} seeds of `film`; balanced accuracy of the plain classifier, then of {len(augmented)} with "
        "stain augmentation"
    )
    print(ROW.format("", "balance", *("mean", "lowest", "highest") * 2, f"recalls of these: {', '.join(CLASSES)}"))
    for name in spec.sources.split(","):
        source = real_source(bench, name, spec.data)
        for balance in BALANCES:
            translator = recipe.translator.model_copy(update={"balance": balance})
            drawn = replace(bench, recipe=recipe.model_copy(update={"translator": translator}))
            kept = name if balance == "none" else f"{name}-{balance}"
            restained = [drawn.translator(kept, source, seed).standardize(source.test.images) for seed in seeds]
            answers = [[mean_prediction(group, images) for images in restained] for group in (plain, augmented)]
            accuracies = [[_balanced(source.test, answer) for answer in of] for of in answers]
            figures = [f"{figure:.3f}" for of in accuracies for figure in (np.mean(of), min(of), max(of))]
            found = [recall_per_class(source.test.labels, one.argmax(axis=1), CLASSES) for one in answers[1]]
            recalls = " ".join(f"{np.mean([one[kind] for one in found]):.2f}" for kind in CLASSES)
            print(ROW.format(name, balance, *figures, recalls), flush=True)


def _balanced(cells: CellSet, answer: Probabilities) -> float:
    return balanced_accuracy(cells.labels, answer.argmax(axis=1), len(CLASSES))


if __name__ == "__main__":
    main()
