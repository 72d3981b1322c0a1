"""How good is `recipes/recommended.toml`? Every pair of random starts, on real and on re-photographed hospitals.

    python benchmarks/recommended.py --out runs/recommended [--sources tecom,yellow-field,...] [--data ../shared/data]

The classifiers learn on the training part of Hospital Clínic's cells. A source is `tecom`; `raabin`, cells that the
authors named by eye (benchmarks/raabin_by_eye.csv: they are no hematologists, and left out what they were not sure
of); or one of the hospitals of `hemabridge simulate`: then the Clínic's validation part, photographed again by that
hospital, is what may be seen without labels, and its test part, photographed again, is scored. Neither was trained on.
`yellow-field+pale` photographs every other cell by the one and the others by the other: one site with two
stain_augmentation. Each row is one answer: of all, of one family of classifiers or one re-staining alone, of one
classifier of each family. For `--labels` pairs of equal seeds on a real site it also measures what a few labels add.
Each answer is kept in --out: a second call goes on where the first was stopped.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.data.simulate import HOSPITALS, measured_reference, photograph
from hemabridge.ensemble.fit import FittedEnsemble, mean_answer
from hemabridge.ensemble.members import Learner, Members
from hemabridge.ensemble.saved import ADABN
from hemabridge.imaging.files import write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.classification import balanced_accuracy, recall_per_class
from hemabridge.metrics.closeness import gradient_correlation
from hemabridge.recipes.recipe import ClassifierRecipe, SiteRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import Site, prepare_site, read_site
from hemabridge.storage.names import folder_name
from hemabridge.storage.stages import DONE, Stages
from hemabridge.training.devices import start_fabric
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.train import train_translator
from hemabridge.workflows.study.ensemble_stage import EnsembleSteps
from recommended_tables import CLASSES, print_table, still_wrong

T = TypeVar("T")
REAL = "tecom"
BY_EYE, BY_EYE_CROP_PX = "raabin", 330
REAL_SITES = (REAL, BY_EYE)
NATIVE_PX = 180
"""Cells are photographed again at about the size that the camera saw."""
BEFORE = ", before self-training"
PLAIN_LEARNED_LUT = "plain classifier, learned color LUT"
STARTS_APART = 100
"""Seeds of two starts differ by more than one start uses."""
FABRIC = start_fabric("cpu")


@dataclass(frozen=True, eq=False)
class Source:
    """A hospital's cells: those that may be seen, and those that are scored; both also at a larger size."""

    seen: CellSet
    test: CellSet
    larger: CellSet
    larger_test: CellSet


@dataclass(frozen=True, eq=False)
class Bench:
    """Settings, folder and the target's cells."""

    recipe: StudyRecipe
    stages: Stages
    target: Site

    def cells(self, site: Site, part: str, size_px: int) -> CellSet:
        """Return one part of a site."""
        return site.cells((part,), CLASSES, size_px, lambda *_: None)

    def members(self, start: int) -> tuple[Members, float]:
        """Return the classifiers of the target that agree, trained once, and the CPU seconds that they took."""
        spec, seed = self.recipe.ensemble, STARTS_APART * start
        assert spec is not None
        target = self.cells(self.target, "train", self.recipe.size_px)
        learners, seconds = [], 0.0
        for each in self.recipe.classifiers:
            snapshot, spent = self._classifier(folder_name(each.name), _trained(each), seed)
            learners.append(Learner(snapshot, _trained(each).view == "shape", target))
            seconds += spent
        inputs = {"members": [m.model_dump(mode="json") for m in spec.members], "target": self.target.described()}
        folder = self.stages.run(
            f"classifiers/members-{start}",
            inputs | {"seed": seed},
            lambda folder: _no_result(self.steps(target, seed).with_members(Members(()), folder)),
            drop_checkpoints,
        )
        learners += [
            Learner(list_snapshots(folder / f"{number}/{place}")[-1].path, each.train.view == "shape", target)
            for number, each in enumerate(spec.members)
            for place in range(each.count)
        ]
        return Members(tuple(learners)), seconds + _cpu_seconds(folder)

    def steps(self, seen: CellSet, seed: int) -> EnsembleSteps:
        """Return the recipe's steps towards an ensemble about the cells `seen`."""
        assert self.recipe.ensemble is not None
        target = self.cells(self.target, "train", self.recipe.size_px)
        return EnsembleSteps(self.recipe.ensemble, target, seen, seen, None, seed, FABRIC, lambda *_: None)

    def plain(self, start: int) -> SnapshotClassifier:
        """Return the recipe's first classifier, trained on its own site's colors alone."""
        config = _trained(self.recipe.classifiers[0]).model_copy(update={"stain_augmentation": None})
        return SnapshotClassifier.from_snapshot(self._classifier("plain", config, STARTS_APART * start)[0])

    def _classifier(self, name: str, config: ClassifierConfig, seed: int) -> tuple[Path, float]:
        target = self.cells(self.target, "train", self.recipe.size_px)
        inputs: dict[str, Any] = {
            "config": config.model_dump(mode="json"),
            "target": self.target.described(),
            "seed": seed,
            "size_px": self.recipe.size_px,
        }
        folder = self.stages.run(
            f"classifiers/{name}-{seed}",
            inputs,
            lambda folder: _no_result(fine_tune(config, target, folder, FABRIC, seed=seed)),
            drop_checkpoints,
        )
        return list_snapshots(folder)[-1].path, _cpu_seconds(folder)

    def translator(self, name: str, source: Source, seed: int) -> NeuralStandardizer:
        """Return the recipe's translator from that source to the target, trained once."""
        config = self.recipe.translator
        target = self.cells(self.target, "train", config.load_px)
        folder = self.stages.run(
            f"translators/{name}-{seed}",
            {"config": config.model_dump(mode="json"), "source": list(source.larger.hashes), "seed": seed},
            lambda folder: _no_result(train_translator(config, source.larger, target, folder, FABRIC, seed=seed)),
            drop_checkpoints,
        )
        return NeuralStandardizer.from_snapshot(list_snapshots(folder)[-1].path)


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
    parser.add_argument("--start", type=int, default=0, help="both starts for the photographed hospitals")
    parser.add_argument("--picture", type=Path, help="draw the real cells that every pair of starts gets wrong")
    parser.add_argument("--labels", type=int, default=3, help="so many equal pairs also show what labels are worth")
    spec = parser.parse_args()
    recipe = expect_kind(read_recipe(spec.recipe, spec.set), StudyRecipe)
    bench = new_bench(recipe, spec.out, spec.data)
    pairs = [(int(start), int(again)) for start, again in (pair.split(":") for pair in spec.pairs.split(","))]
    for name in spec.sources.split(","):
        source = real_source(bench, name, spec.data) if name in REAL_SITES else _photographed(bench, name)
        answers = [
            _kept(bench, name, source, *pair, labels=name in REAL_SITES and pair[0] == pair[1] < spec.labels)
            for pair in (pairs if name in REAL_SITES else [(spec.start, spec.start)])
        ]
        print_table(name, source.test, len(source.seen), answers)
        if name == REAL and spec.picture is not None:
            write_image(spec.picture, still_wrong(source.larger_test, answers))


def new_bench(recipe: StudyRecipe, out: Path, data: Path) -> Bench:
    """Return the recipe's steps between Hospital Clínic's cells and others, which are kept in `out`."""
    stages = Stages(out)
    target = _site(recipe, stages, SiteRecipe(site="clinic", folder=data / "clinic", crop_px=180), clinic=True)
    return Bench(recipe, stages, target)


def _site(recipe: StudyRecipe, stages: Stages, spec: SiteRecipe, *, clinic: bool) -> Site:
    parts = recipe.target_parts if clinic else recipe.source_parts
    return prepare_site(spec, read_site(spec), CLASSES, parts, seed=recipe.seed, stages=stages)


def real_source(bench: Bench, name: str, data: Path) -> Source:
    """Return a real hospital's cells, by the names of `REAL_SITES`."""
    spec = SiteRecipe(site=name, folder=data / name)
    if name == BY_EYE:
        named = Path(__file__).with_name(f"{BY_EYE}_by_eye.csv")
        root = data / BY_EYE / "unlabelled"
        spec = SiteRecipe(site=name, manifest=named, root=root, crop_px=BY_EYE_CROP_PX)
    site = _site(bench.recipe, bench.stages, spec, clinic=False)
    size_px, load_px = bench.recipe.size_px, bench.recipe.translator.load_px
    return Source(
        bench.cells(site, "train", size_px),
        bench.cells(site, "test", size_px),
        bench.cells(site, "train", load_px),
        bench.cells(site, "test", load_px),
    )


def _photographed(bench: Bench, hospitals: str) -> Source:
    manifest = bench.target.manifest
    reference = None
    found = {}
    for part in ("validation", "test"):
        wanted = manifest.select(pl.col("split") == part)
        cells = load_cells(wanted, classes=CLASSES, size_px=NATIVE_PX, crop_px=bench.target.crop_px)
        reference = reference or measured_reference(list(cells.images[::10]))
        images = cells.images.copy()
        names = hospitals.split("+")
        for place, name in enumerate(names):
            own = slice(place, None, len(names))
            images[own] = photograph(cells.images[own], HOSPITALS[name], reference=reference)
        found[part] = replace(cells, images=images)
    size_px, load_px = bench.recipe.size_px, bench.recipe.translator.load_px
    return Source(
        _resized(found["validation"], size_px),
        _resized(found["test"], size_px),
        _resized(found["validation"], load_px),
        _resized(found["test"], load_px),
    )


def _resized(cells: CellSet, size_px: int) -> CellSet:
    return replace(cells, images=np.stack([resize_square(image, size_px) for image in cells.images]))


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
    """Return what the recipe's steps say of the scored cells, one after the other, and what leaving parts out costs."""
    spec = bench.recipe.ensemble
    assert spec is not None
    home = bench.cells(bench.target, "test", bench.recipe.size_px)
    (own, spent), plain = bench.members(classifier_seed), bench.plain(classifier_seed)
    seconds = {"classifiers": spent}
    translator = None
    if name in REAL_SITES:
        translator, seconds["translator"] = _timed(lambda: bench.translator(name, source, source_seed))
    test = source.test.images
    steps = bench.steps(source.seen, STARTS_APART * classifier_seed + source_seed)
    (own, fitted), seconds["ensemble"] = _timed(lambda: steps.agree(own))
    own = own.kept(fitted, folder / ADABN)  # those who learn labels go on from there, as in a study
    taught, learned = own, fitted
    if spec.self_training_rounds:
        taught, seconds["self-training"] = _timed(lambda: steps.self_trained(own, fitted, folder / "self-training"))
        learned = taught.answering(fitted)
    states = {"": fitted} if taught is own else {BEFORE: fitted, ", after self-training": learned}
    said: dict[str, Any] = {}
    for when, state in states.items():
        said |= _parts(when, state, test) if name in REAL_SITES else {f"all{when}": state.probabilities(test)}
    answers = {
        "recommended": said[f"all{list(states)[-1]}"],
        "plain classifier, original": mean_answer([plain], test),
        "classifiers with stain augmentation, original": mean_answer(fitted.classifiers, test),
    }
    table, seconds["learned color LUT"] = _timed(lambda: steps.table_for(plain, learned, folder / "learned-lut"))
    assert table is not None
    restained = table.standardize(test)
    answers[PLAIN_LEARNED_LUT] = mean_answer([plain], restained)
    kept = {PLAIN_LEARNED_LUT: float(np.median(gradient_correlation(restained, test)))}
    if translator is not None:
        restained = translator.standardize(test)
        answers["plain classifier, translator"] = mean_answer([plain], restained)
        answers["classifiers with stain_augmentation, translator"] = mean_answer(fitted.classifiers, restained)
        kept["plain classifier, translator"] = float(np.median(gradient_correlation(restained, test)))
    for restaining, standardizer in fitted.standardizers.items():
        restained = standardizer.standardize(test)
        answers[f"plain classifier, {restaining}"] = mean_answer([plain], restained)
    answers |= said
    if labels:
        for count in spec.few_labels:
            found = steps.taught(taught, learned, count, folder / f"labels-{count}").answering(fitted)
            answers[f"with {count} labels"] = found.probabilities(test)
    scores = {arm: _scores(source.test, answer) for arm, answer in answers.items()}
    scores["recommended, on the cells seen unlabeled"] = _scores(source.seen, learned.probabilities(source.seen.images))
    scores["home, plain classifier"] = _scores(home, plain.probabilities(home.images))
    scores |= {f"home, all{when}": _scores(home, state.at_home(home.images)) for when, state in states.items()}
    return {
        "scores": scores,
        "confidence": dict(fitted.confidence),
        "soft_agreement": dict(fitted.soft_agreement),
        "kept": list(fitted.standardizers),
        "shape": _heard(fitted),
        "gradient correlation": kept,
        "cpu seconds": seconds,
    }


def _heard(fitted: FittedEnsemble) -> str:
    """Return how those who see shape take part."""
    if not fitted.direct:
        return "left out"
    return "batch norm measured again" if fitted.adabn else "batch norm of home"


def _parts(when: str, fitted: FittedEnsemble, test: UInt8Images) -> dict[str, Any]:
    """Return the answers of each family and each re-staining alone, and of one of each; names end with `when`."""
    found = {}
    aided = []
    for name, standardizer in fitted.standardizers.items():
        restained = standardizer.standardize(test)
        aided.append(mean_answer(fitted.classifiers, restained))
        found[f"only {name}{when}"] = aided[-1]
    found[f"only re-stained{when}"] = np.mean(aided, axis=0)
    direct = mean_answer(fitted.direct, test) if fitted.direct else None
    if direct is not None:
        found[f"only shape{when}"] = direct
    found[f"all{when}"] = fitted.joined(aided, direct)
    one = replace(fitted, classifiers=fitted.classifiers[:1], direct=fitted.direct[:1])
    found[f"one of each family{when}"] = one.probabilities(test)
    return found


def _no_result(_: object) -> None:
    """Turn work that returns something into work of a stage."""


def _cpu_seconds(folder: Path) -> float:
    return float(json.loads((folder / DONE).read_text(encoding="utf-8"))["cpu_seconds"])


def _trained(spec: ClassifierRecipe) -> ClassifierConfig:
    assert spec.train is not None
    return spec.train


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
