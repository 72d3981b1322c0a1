"""Does it help a translator to see each class equally often? `film` between real hospitals, drawn three ways.

    python benchmarks/class_prior.py [--sources tecom,raabin] [--seeds 0,1,2] [--out runs/recommended]

Hospitals hold other mixes of cells, and a judge can tell them apart by that. `balance = "target"` shows the target's
classes equally often, `"both"` also the kinds of cells that are found in the source without labels. Scored with one
classifier that saw its own site's colors alone, and with those that learned stain augmentation, as
benchmarks/recommended.py trains and keeps them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.fit import mean_answer
from hemabridge.metrics.classification import balanced_accuracy, recall_per_class
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from recommended import new_bench, real_source
from recommended_tables import CLASSES

BALANCES = ("none", "target", "both")
ROW = "{:10s} {:10s} {:>6s} {:>7s} {:>8s} {:>6s} {:>7s} {:>8s}   {}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/recommended"))
    parser.add_argument("--sources", default="tecom,raabin")
    parser.add_argument("--seeds", default="0,1,2", help="of the translator; the classifiers are those of start 0")
    spec = parser.parse_args()
    recipe = expect_kind(read_recipe(spec.recipe), StudyRecipe)
    seeds = [int(seed) for seed in spec.seeds.split(",")]
    bench = new_bench(recipe, spec.out, spec.data)
    with_looks, plain = bench.team(0)[0].asked_about_restainings(), [bench.plain(0)]
    print(
        f"{len(seeds)} seeds of `film`; balanced accuracy of the plain classifier, then of {len(with_looks)} with "
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
            answers = [[mean_answer(asked, images) for images in restained] for asked in (plain, with_looks)]
            accuracies = [[_balanced(source.test, answer) for answer in of] for of in answers]
            figures = [f"{figure:.3f}" for of in accuracies for figure in (np.mean(of), min(of), max(of))]
            named = [recall_per_class(source.test.labels, one.argmax(axis=1), CLASSES) for one in answers[1]]
            recalls = " ".join(f"{np.mean([one[kind] for one in named]):.2f}" for kind in CLASSES)
            print(ROW.format(name, balance, *figures, recalls), flush=True)


def _balanced(cells: CellSet, answer: Probabilities) -> float:
    return balanced_accuracy(cells.labels, answer.argmax(axis=1), len(CLASSES))


if __name__ == "__main__":
    main()
