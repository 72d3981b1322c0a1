"""How good is `recipes/recommended.toml`? Every pair of random starts, on real and on re-photographed hospitals.

    python benchmarks/recommended.py --out runs/recommended [--sources tecom,yellow-field,...] [--data ../shared/data]

The classifiers learn on the training part of Hospital Clínic's cells. A source is `tecom`, or one of the hospitals of
`hemabridge simulate`: then the Clínic's validation part, photographed again by that hospital, is what may be seen
without labels, and its test part, photographed again, is scored. Neither was trained on. For `--full` pairs of equal
seeds on tecom it also measures what leaving out each part costs, and what a few labels add. Each answer is kept in
--out: a second call goes on where the first was stopped.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hemabridge.adaptation.agreement import Agreement, agree, mean_answer
from hemabridge.adaptation.likely_classes import few_labels, known_classes, likely_classes
from hemabridge.classifiers.batch_norm import with_statistics_of
from hemabridge.classifiers.both_sites import LikelyCells, fine_tune_on_both
from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.data.simulate import HOSPITALS, measured_reference, photograph
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.classification import balanced_accuracy, recall_per_class
from hemabridge.metrics.closeness import gradient_correlation
from hemabridge.training.devices import start_fabric
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.train import train_translator
from hemabridge.workflows.recipe import SiteRecipe, StudyRecipe
from hemabridge.workflows.recipe_file import expect_kind, read_recipe
from hemabridge.workflows.sites import Site, prepare_site, read_site
from hemabridge.workflows.stages import Stages, folder_name

REAL = "tecom"
CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
NATIVE_PX = 180
"""Cells are photographed again at about the size that the camera saw."""
FABRIC = start_fabric("cpu")


@dataclass(frozen=True, eq=False)
class Source:
    """A hospital's cells: those that may be seen, and those that are scored."""

    seen: CellSet
    test: CellSet
    larger: CellSet


@dataclass(frozen=True, eq=False)
class Bench:
    """Settings, folder and the target's cells."""

    recipe: StudyRecipe
    stages: Stages
    target: Site

    def cells(self, site: Site, part: str, size_px: int) -> CellSet:
        """Return one part of a site."""
        return site.cells((part,), CLASSES, size_px, lambda *_: None)

    def classifiers(self, seed: int, *, plain: bool) -> dict[str, Path]:
        """Return the last snapshots of the recipe's classifiers; `plain` ones learn no looks."""
        found = {}
        for wish in self.recipe.classifiers:
            assert wish.train is not None
            config = wish.train.model_copy(update={"looks": None}) if plain else wish.train
            if plain and found:
                break  # without looks they are all alike
            name = f"classifiers/{'plain' if plain else folder_name(wish.name)}-{seed}"
            inputs: dict[str, Any] = {
                "config": config.model_dump(mode="json"),
                "target": self.target.described(),
                "seed": seed,
            }
            inputs["size_px"] = self.recipe.size_px
            target = self.cells(self.target, "train", self.recipe.size_px)
            folder = self.stages.run(
                name,
                inputs,
                lambda f, config=config, target=target: fine_tune(config, target, f, FABRIC, seed=seed),
                drop_checkpoints,
            )
            found[name] = list_snapshots(folder)[-1].path
        return found

    def translator(self, name: str, source: Source, seed: int) -> NeuralStandardizer:
        """Return the recipe's translator from that source to the target, trained once."""
        config = self.recipe.translator
        target = self.cells(self.target, "train", config.load_px)
        folder = self.stages.run(
            f"translators/{name}-{seed}",
            {"config": config.model_dump(mode="json"), "source": list(source.larger.hashes), "seed": seed},
            lambda f: train_translator(config, source.larger, target, f, FABRIC, seed=seed),
            drop_checkpoints,
        )
        return NeuralStandardizer.from_snapshot(list_snapshots(folder)[-1].path)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/recommended"))
    parser.add_argument("--sources", default=",".join((REAL, *(name for name in HOSPITALS if name != "clinic-like"))))
    parser.add_argument("--seeds", type=int, default=3, help="translator seeds x classifier seeds for tecom")
    parser.add_argument("--full", type=int, default=3, help="so many equal pairs also show what each part is worth")
    wish = parser.parse_args()
    recipe = expect_kind(read_recipe(wish.recipe), StudyRecipe)
    stages = Stages(wish.out)
    target = _site(recipe, stages, SiteRecipe(site="clinic", folder=wish.data / "clinic", crop_px=180), clinic=True)
    bench = Bench(recipe, stages, target)
    for name in wish.sources.split(","):
        source = _real(bench, wish.data) if name == REAL else _photographed(bench, name)
        pairs = [(c, t) for c in range(wish.seeds) for t in range(wish.seeds) if name == REAL or c == t]
        full = [name == REAL and c == t < wish.full for c, t in pairs]
        answers = [_kept(bench, name, source, *pair, left_out=left) for pair, left in zip(pairs, full, strict=True)]
        _print_table(name, source, answers)


def _site(recipe: StudyRecipe, stages: Stages, wish: SiteRecipe, *, clinic: bool) -> Site:
    parts = recipe.target_parts if clinic else recipe.source_parts
    return prepare_site(wish, read_site(wish), CLASSES, parts, seed=recipe.seed, stages=stages)


def _real(bench: Bench, data: Path) -> Source:
    wish = SiteRecipe(site=REAL, folder=data / REAL)
    site = _site(bench.recipe, bench.stages, wish, clinic=False)
    size_px, load_px = bench.recipe.size_px, bench.recipe.translator.load_px
    return Source(
        bench.cells(site, "train", size_px), bench.cells(site, "test", size_px), bench.cells(site, "train", load_px)
    )


def _photographed(bench: Bench, hospital: str) -> Source:
    manifest = bench.target.manifest
    reference = None
    found = {}
    for part in ("validation", "test"):
        wanted = manifest.select(pl.col("split") == part)
        cells = load_cells(wanted, classes=CLASSES, size_px=NATIVE_PX, crop_px=bench.target.crop_px)
        reference = reference or measured_reference(list(cells.images[::10]))
        found[part] = replace(cells, images=photograph(cells.images, HOSPITALS[hospital], reference=reference))
    size_px, load_px = bench.recipe.size_px, bench.recipe.translator.load_px
    return Source(
        _resized(found["validation"], size_px), _resized(found["test"], size_px), _resized(found["validation"], load_px)
    )


def _resized(cells: CellSet, size_px: int) -> CellSet:
    return replace(cells, images=np.stack([resize_square(image, size_px) for image in cells.images]))


def _kept(
    bench: Bench, name: str, source: Source, classifier_seed: int, translator_seed: int, *, left_out: bool
) -> dict[str, Any]:
    """Return all answers of one pair of seeds, worked out once."""

    def work(folder: Path) -> None:
        found = _answers(bench, name, source, classifier_seed, translator_seed, folder, left_out=left_out)
        (folder / "answers.json").write_text(json.dumps(found), encoding="utf-8")

    stage = f"answers/{name}-{classifier_seed}-{translator_seed}" + ("-full" if left_out else "")
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
    translator_seed: int,
    folder: Path,
    *,
    left_out: bool,
) -> dict[str, Any]:
    wish = bench.recipe.agreement
    assert wish is not None
    target = bench.cells(bench.target, "train", bench.recipe.size_px)
    snapshots = bench.classifiers(classifier_seed, plain=False)
    own = [SnapshotClassifier.from_snapshot(path) for path in snapshots.values()]
    plain = [SnapshotClassifier.from_snapshot(path) for path in bench.classifiers(classifier_seed, plain=True).values()]
    started, cpu = time.monotonic(), time.process_time()
    translator = bench.translator(name, source, translator_seed)
    seconds = {"translator": time.process_time() - cpu}
    trained: dict[str, Standardizer] = {"translator": translator} if wish.translator else {}
    test, seen = source.test.images, source.seen.images
    restained = translator.standardize(test)

    def agreed(classifiers: list[SnapshotClassifier], **changes: Any) -> Agreement:
        without = trained if changes.pop("translator", True) else {}
        seed = 10 * classifier_seed + translator_seed
        return agree(wish.model_copy(update=changes), classifiers, seen, target, trained=without, seed=seed)

    cpu = time.process_time()
    recommended = agreed(own)
    answers = {"recommended": recommended.probabilities(test)}
    seconds["agreement"] = time.process_time() - cpu
    home = bench.cells(bench.target, "test", bench.recipe.size_px)
    answers |= {
        "plain classifier, original": mean_answer(plain, test),
        "plain classifier, translator": mean_answer(plain, restained),
        "classifiers with looks, original": mean_answer(own, test),
        "classifiers with looks, translator": mean_answer(own, restained),
    }
    if left_out:
        answers |= _left_out(agreed, own, plain, test)
    if classifier_seed == translator_seed and name == REAL:
        counts = wish.few_labels if left_out else ()
        answers |= _taught(bench, wish, counts, recommended, snapshots, source, target, folder)
    found = {arm: _scores(source.test, answer) for arm, answer in answers.items()}
    found["home, classifiers with looks"] = _scores(home, mean_answer(own, home.images))
    return {
        "scores": found,
        "sureness": dict(recommended.sureness),
        "kept": list(recommended.standardizers),
        "gradient correlation": float(np.median(gradient_correlation(restained, test))),
        "cpu seconds": seconds,
        "seconds": time.monotonic() - started,
    }


def _left_out(agreed: Any, own: list[SnapshotClassifier], plain: list[SnapshotClassifier], test: UInt8Images) -> Any:
    recommended = agreed(own)
    measured = [with_statistics_of(classifier, np.concatenate(list(recommended.views(test)))) for classifier in own]
    return {
        "without looks": agreed(plain).probabilities(test),
        "without the class mix": agreed(own, mixing_rounds=0).probabilities(test),
        "without doubt": agreed(own, doubt=None).probabilities(test),
        "without the translator": agreed(own, translator=False).probabilities(test),
        "one classifier": agreed(own[:1]).probabilities(test),
        "only sliced-ot": agreed(own, restainings=("sliced-ot",), translator=False).probabilities(test),
        "only linear-ot": agreed(own, restainings=("linear-ot",), translator=False).probabilities(test),
        "with batch norm measured anew": replace(recommended, classifiers=tuple(measured)).probabilities(test),
    }


def _taught(
    bench: Bench,
    wish: Any,
    counts: Sequence[int],
    recommended: Agreement,
    snapshots: dict[str, Path],
    source: Source,
    target: CellSet,
    folder: Path,
) -> dict[str, Any]:
    views = recommended.views(source.seen.images)
    beliefs = {"with self-training": likely_classes(recommended.probabilities(source.seen.images), wish.sure)}
    for count in counts:
        labels = few_labels(source.seen.labels, count, bench.recipe.seed)
        beliefs[f"with {count} labels"] = known_classes(labels, len(CLASSES))
    answers = {}
    for arm, (shares, weights) in beliefs.items():
        cells = LikelyCells(views, shares, weights, source.seen.hashes)
        taught = []
        for place, start in enumerate(snapshots.values()):
            own = folder / folder_name(arm) / str(place)
            end = fine_tune_on_both(wish.both_sites, start, target, cells, own, FABRIC, seed=bench.recipe.seed)
            taught.append(SnapshotClassifier.from_snapshot(end))
            drop_checkpoints(own)
        answers[arm] = replace(recommended, classifiers=tuple(taught)).probabilities(source.test.images)
    return answers


def _scores(cells: CellSet, answer: np.ndarray) -> dict[str, Any]:
    predicted = answer.argmax(axis=1)
    return {
        "balanced": balanced_accuracy(cells.labels, predicted, len(CLASSES)),
        "recall": [recall for recall in recall_per_class(cells.labels, predicted, CLASSES).values()],
        "wrong": [cells.ids[i] for i in np.flatnonzero(predicted != cells.labels)],
    }


def _print_table(name: str, source: Source, answers: list[dict[str, Any]]) -> None:
    print(f"\n{name}: n = {len(source.test)} scored, {len(source.seen)} seen unlabelled, {len(answers)} pairs of seeds")
    print(f"{'':36s} {'mean':>6s} {'lowest':>7s} {'highest':>8s} {'pairs':>5s}   mean recall of {', '.join(CLASSES)}")
    for arm in answers[0]["scores"]:
        runs = [found["scores"][arm] for found in answers if arm in found["scores"]]
        values = [run["balanced"] for run in runs]
        recalls = np.mean([run["recall"] for run in runs], axis=0)
        shown = " ".join(f"{recall:.2f}" for recall in recalls)
        print(f"{arm:36s} {np.mean(values):6.3f} {min(values):7.3f} {max(values):8.3f} {len(runs):5d}   {shown}")
    print("re-stainings kept:", "; ".join(sorted({", ".join(found["kept"]) for found in answers})))
    kept = [found["gradient correlation"] for found in answers]
    print(f"translator's gradient correlation to the input, median over cells: {min(kept):.3f} to {max(kept):.3f}")
    for part in answers[0]["cpu seconds"]:
        print(f"CPU seconds, {part}: {max(found['cpu seconds'][part] for found in answers):.0f} at most")
    wrong = [cell for found in answers for cell in found["scores"]["recommended"]["wrong"]]
    always = sorted(cell for cell in set(wrong) if wrong.count(cell) == len(answers))
    print(f"wrong with every pair of seeds ({len(always)}): {', '.join(always)}", flush=True)


if __name__ == "__main__":
    main()
