"""How good is `recipes/recommended.toml`? Every pair of random starts, on real and on restyled hospitals.

    python benchmarks/recommended.py --out runs/recommended [--sources tecom,yellow-field,...] [--data ../shared/data]

The classifiers are trained on the training part of Hospital Clínic's cells. A source is `tecom`; `raabin`, cells that
the authors labeled by eye (benchmarks/raabin_by_eye.csv: they are no hematologists, and left out cells that they were
not certain of); or one of the hospitals of `hemabridge simulate`. Of such a hospital the Clínic's validation part,
restyled, is what may be seen without labels, and its test part, restyled, is scored. Neither was trained on.
`yellow-field+pale` restyles every other cell as the one and the others as the other: one site with two subdomains. Each
row is one prediction: of the whole ensemble, of one group of members or one re-staining alone, of one member of each
group. For `--labels` pairs of equal seeds on a real site it also measures what a few labels add. Each result is kept in
--out: a second call goes on where the first was stopped.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.lut_learning import learn_lut
from hemabridge.ensemble.members import Members, classifiers_of
from hemabridge.ensemble.pooling import mean_of, mean_prediction
from hemabridge.ensemble.pseudo_labels import few_labels
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.classification import balanced_accuracy, recall_per_class
from hemabridge.metrics.closeness import gradient_correlation
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import RunContext
from recommended_bench import (
    FABRIC,
    REAL,
    REAL_SITES,
    STARTS_APART,
    Bench,
    Source,
    new_bench,
    real_source,
    restyled_source,
)
from recommended_tables import CLASSES, print_table, still_wrong

T = TypeVar("T")
BEFORE = ", before self-training"
PLAIN_LEARNED_LUT = "plain classifier, learned color LUT"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another setting of the recipe")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/recommended"))
    parser.add_argument(
        "--sources", default=",".join((*REAL_SITES, *(name for name in HOSPITALS if name != "clinic-like")))
    )
    parser.add_argument(
        "--pairs",
        default=",".join(f"{start}:{again}" for start in range(3) for again in range(3)),
        help="starts of the target's classifiers, and of all that is fitted or trained for a real site",
    )
    parser.add_argument("--start", type=int, default=0, help="both starts for the restyled hospitals")
    parser.add_argument("--picture", type=Path, help="draw the real cells that every pair of starts gets wrong")
    parser.add_argument("--labels", type=int, default=3, help="so many equal pairs also show what labels add")
    spec = parser.parse_args()
    recipe = expect_kind(read_recipe(spec.recipe, spec.set), StudyRecipe)
    bench = new_bench(recipe, spec.out, spec.data)
    pairs = [(int(start), int(again)) for start, again in (pair.split(":") for pair in spec.pairs.split(","))]
    for name in spec.sources.split(","):
        source = real_source(bench, name, spec.data) if name in REAL_SITES else restyled_source(bench, name)
        answers = [
            _kept(bench, name, source, *pair, labels=name in REAL_SITES and pair[0] == pair[1] < spec.labels)
            for pair in (pairs if name in REAL_SITES else [(spec.start, spec.start)])
        ]
        print_table(name, source.test, len(source.seen), answers)
        if name == REAL and spec.picture is not None:
            write_image(spec.picture, still_wrong(source.larger_test, answers))


def _kept(
    bench: Bench, name: str, source: Source, classifier_seed: int, source_seed: int, *, labels: bool
) -> dict[str, Any]:
    """Return all answers of one pair of seeds, worked out once."""

    def work(folder: Path) -> None:
        found = _answers(bench, name, source, classifier_seed, source_seed, folder, labels=labels)
        (folder / "answers.json").write_text(json.dumps(found), encoding="utf-8")

    stage = f"answers/{name}-{classifier_seed}-{source_seed}" + ("-labels" if labels else "")
    inputs = {
        "recipe": bench.recipe.model_dump(mode="json"),
        "test": list(source.test.hashes),
        "seen": list(source.seen.hashes),
    }
    folder = bench.stages.run(stage, inputs, work)
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return found


def _answers(
    bench: Bench,
    name: str,
    source: Source,
    classifier_seed: int,
    source_seed: int,
    folder: Path,
    *,
    labels: bool,
) -> dict[str, Any]:
    """Return what is predicted of the scored cells, step after step, and what leaving parts out costs."""
    real = name in REAL_SITES
    home = bench.cells(bench.target, "test", bench.recipe.ensemble_px)
    (members, spent), plain = bench.members(classifier_seed), bench.plain(classifier_seed)
    seconds = {"classifiers": spent}
    context = RunContext(folder, FABRIC, STARTS_APART * classifier_seed + source_seed)
    rounds, fitted_in = _timed(lambda: _rounds(bench, members, source.seen, context))
    seconds |= (
        {"ensemble": rounds[0][1], "self-training": fitted_in - rounds[0][1]}
        if len(rounds) > 1
        else {"ensemble": fitted_in}
    )
    fitted, test = rounds[-1][0], source.test.images
    states = {"": fitted} if len(rounds) == 1 else {BEFORE: rounds[0][0], ", after self-training": fitted}
    predicted: dict[str, Any] = {}
    for when, state in states.items():
        predicted |= _parts(when, state, test) if real else {f"all{when}": state.predict(test)}
    color = classifiers_of(rounds[0][0].color_members)
    arms = {
        "recommended": predicted[f"all{list(states)[-1]}"],
        "plain classifier, original": mean_prediction([plain], test),
        "classifiers with stain augmentation, original": mean_prediction(color, test),
    }
    restained, seconds["learned color LUT"] = _timed(lambda: _with_lut(bench, plain, fitted, source, context))
    arms[PLAIN_LEARNED_LUT] = mean_prediction([plain], restained)
    kept = {PLAIN_LEARNED_LUT: float(np.median(gradient_correlation(restained, test)))}
    if real:
        translator, seconds["translator"] = _timed(lambda: bench.translator(name, source, source_seed))
        restained = translator.standardize(test)
        arms["plain classifier, translator"] = mean_prediction([plain], restained)
        arms["classifiers with stain augmentation, translator"] = mean_prediction(color, restained)
        kept["plain classifier, translator"] = float(np.median(gradient_correlation(restained, test)))
    for restaining, standardizer in fitted.restainings.items():
        arms[f"plain classifier, {restaining}"] = mean_prediction([plain], standardizer.standardize(test))
    arms |= predicted
    if labels:
        arms |= _with_labels(bench, fitted, source, context)
    scores = {arm: _scores(source.test, prediction) for arm, prediction in arms.items()}
    scores["recommended, on the cells seen unlabeled"] = _scores(source.seen, fitted.predict(source.seen.images))
    scores["home, plain classifier"] = _scores(home, plain.probabilities(home.images))
    scores |= {f"home, all{when}": _scores(home, state.predict_target(home.images)) for when, state in states.items()}
    return {
        "scores": scores,
        "confidence": dict(fitted.confidence),
        "soft_agreement": dict(fitted.soft_agreement),
        "kept": list(fitted.restainings),
        "shape": _shape_members(fitted),
        "gradient correlation": kept,
        "cpu seconds": seconds,
    }


def _rounds(bench: Bench, members: Members, seen: CellSet, context: RunContext) -> list[tuple[FittedEnsemble, float]]:
    """Return the ensemble before self-training and after each round of it, each with the CPU seconds until then."""
    started, found = time.process_time(), []

    def keep(_round: int, fitted: FittedEnsemble) -> None:
        found.append((fitted, time.process_time() - started))

    bench.fitted(members, seen, context, keep)
    return found


def _with_lut(
    bench: Bench, plain: SnapshotClassifier, fitted: FittedEnsemble, source: Source, context: RunContext
) -> UInt8Images:
    """Return the scored cells, re-stained with a color table that is learned for one frozen classifier."""
    spec, target = bench.config.learned_lut, bench.target_cells().images
    assert spec is not None
    table = learn_lut(spec, plain, fitted, source.seen, target, context.within("learned-lut"))
    return table.standardize(source.test.images)


def _with_labels(bench: Bench, fitted: FittedEnsemble, source: Source, context: RunContext) -> dict[str, Any]:
    """Return what the ensemble predicts after fine-tuning on few labels."""
    found = {}
    for count in bench.config.few_labels:
        known = few_labels(source.seen.labels, count, context.seed)
        tuned = fitted.fine_tuned(source.seen, known, bench.config, context.within(f"labels-{count}"))
        found[f"with {count} labels"] = tuned.predict(source.test.images)
    return found


def _shape_members(fitted: FittedEnsemble) -> str:
    """Return how the shape members take part."""
    if not fitted.shape_members:
        return "left out"
    return "AdaBN" if fitted.adabn else "batch norm of home"


def _parts(when: str, fitted: FittedEnsemble, test: UInt8Images) -> dict[str, Any]:
    """Return predictions of each group and each re-staining alone, and of one member of each; names end with `when`."""
    found = {}
    color = []
    for name, standardizer in fitted.restainings.items():
        color.append(fitted.predict_color(standardizer.standardize(test)))
        found[f"only {name}{when}"] = color[-1]
    found[f"only re-stained{when}"] = mean_of(color)
    original = fitted.predict_original(test)
    if original is not None:
        found[f"only shape{when}"] = original
    found[f"all{when}"] = fitted.pooled(color, original)
    one = replace(fitted, color_members=fitted.color_members[:1], shape_members=fitted.shape_members[:1])
    found[f"one of each group{when}"] = one.predict(test)
    return found


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.process_time()
    done = work()
    return done, time.process_time() - started


def _scores(cells: CellSet, answer: np.ndarray) -> dict[str, Any]:
    predicted = answer.argmax(axis=1)
    return {
        "balanced": balanced_accuracy(cells.labels, predicted, len(CLASSES)),
        "recall": [recall for recall in recall_per_class(cells.labels, predicted, CLASSES).values()],
        "predicted": predicted.tolist(),
    }


if __name__ == "__main__":
    main()
