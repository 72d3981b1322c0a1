"""How good is `recipes/recommended.toml` at a hospital of which nothing was labeled? Each one in turn is left out.

    python benchmarks/leave_one_out.py --out runs/leave-one-out [--sources tecom,raabin,bccd,yellow-field,...]

The classifiers are trained on the training part of Hospital Clinic's cells (`clinic`), or on these and on all labeled
cells of the other real hospitals (`clinic + 2`). The hospital that is left out is seen without labels, as
`hemabridge evaluate --fit` sees it, and all its labeled cells are scored. A real one is `tecom`; `raabin`, cells that
the authors labeled by eye (benchmarks/raabin_by_eye.csv: they are no hematologists, and left out cells of which they
were not certain); or `bccd`, squares around the boxes of leukocytes. A restyled one is a hospital of
`hemabridge simulate`: the Clinic's validation part, restyled, is seen, and its test part, restyled, is scored.

A constant of the recipe is chosen on all hospitals but one, and counts by what it gives at that one. `--set` tries
another. Each result is kept in --out: a second call goes on where the first was stopped. The folder of a result also
holds the fitted ensemble, and `predictions.npz`: the probabilities and the labels of each scored cell.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS
from hemabridge.ensemble.config import DISTILLATION
from hemabridge.ensemble.distilled import distill
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.pooling import with_one_classifier
from hemabridge.metrics.classification import balanced_accuracy, confusion_counts
from hemabridge.metrics.confidence import expected_calibration_error
from hemabridge.models import open_model
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import RunContext
from recommended_bench import FABRIC, REAL_SITES, STARTS_APART, Bench, new_bench, real_site, restyled_source

RESTYLED = tuple(name for name in HOSPITALS if name != "clinic-like")
PREDICTIONS = "predictions.npz"
ALONE = "distilled"
"""The predictions of the single classifier."""
DOUBTFUL = {"bccd": ("eosinophil",)}
"""Classes whose labels are doubtful, which a second figure leaves out."""
ARMS = ("originals", "ensemble", "one classifier", "both")
"""The members on the images as they came; the ensemble; the single classifier that was distilled from it; and the mean
of ensemble and classifier, shown mirrored views, as `hemabridge evaluate --fit` predicts."""
ROW = "{:14s} {:12s} {:14s} {:>6s} {:>6s} {:>6s} {:>6s} {:>6s}  {:47s} {}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another setting of the recipe")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/leave-one-out"))
    parser.add_argument("--sources", default=",".join((*REAL_SITES, *RESTYLED)))
    parser.add_argument(
        "--targets", default="1,3", help="labeled hospitals: 1, the Clinic; 3, also the other real ones"
    )
    parser.add_argument("--starts", default="0,1,2", help="random starts of the classifiers")
    spec = parser.parse_args()
    bench = new_bench(expect_kind(read_recipe(spec.recipe, spec.set), StudyRecipe), spec.out, spec.data)
    starts = [int(start) for start in spec.starts.split(",")]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name in spec.sources.split(","):
        for count in spec.targets.split(","):
            if count == "1" or name in REAL_SITES:
                targets = "clinic" if count == "1" else "clinic + 2"
                runs[name, targets] = [_kept(bench, name, spec.data, start, count != "1") for start in starts]
    _print(bench.classes, runs)


def _kept(bench: Bench, name: str, data: Path, start: int, further: bool) -> dict[str, Any]:
    """Return all figures of one hospital and one start, worked out once."""
    seen, test = scored_cells(bench, name, data)
    others = [scored_cells(bench, other, data)[1] for other in REAL_SITES if further and other != name]

    def work(folder: Path) -> None:
        (folder / "figures.json").write_text(json.dumps(_figures(bench, seen, test, others, start, folder)), "utf-8")

    inputs = {
        "recipe": bench.recipe.model_dump(mode="json"),
        "cells": [[cells.crop_px, *cells.hashes] for cells in (seen, test, *others)],
    }
    row = f"{name}{'-further' if further else ''}-{start}"
    folder = bench.stages.run(f"figures/{row}", inputs, work)
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    key = {
        "config": DISTILLATION.model_dump(mode="json"),
        "figures": bench.stages.key(f"figures/{row}"),
        "kept": [ALONE],
    }

    def distilled(own: Path) -> None:
        with np.load(folder / PREDICTIONS) as kept:
            figures = _distilled(bench, seen, test, others, start, kept["seen"], own)
        (own / "figures.json").write_text(json.dumps(figures), "utf-8")

    own = bench.stages.run(f"distilled/{row}", key, distilled, drop_checkpoints)
    with np.load(folder / PREDICTIONS) as kept, np.load(own / PREDICTIONS) as kept_of_one:
        both = with_one_classifier(kept["ensemble"], kept_of_one[ALONE])
    return found | json.loads((own / "figures.json").read_text(encoding="utf-8")) | {"both": _scores(test, both)}


def scored_cells(bench: Bench, name: str, data: Path) -> tuple[CellSet, CellSet]:
    """Return the cells that are seen without labels, and those that are scored."""
    if name not in REAL_SITES:
        source = restyled_source(bench, name)
        return source.seen, source.test
    site = real_site(bench, name, data)
    parts = tuple(sorted(set(site.manifest.column("split"))))
    cells = site.cells(parts, bench.classes, bench.recipe.ensemble_px, lambda *_: None)
    return cells, cells


def _figures(
    bench: Bench, seen: CellSet, test: CellSet, others: list[CellSet], start: int, folder: Path
) -> dict[str, Any]:
    members, trained_in = bench.members(start, others)
    home = bench.cells(bench.target, "test", bench.recipe.ensemble_px)
    started = time.process_time()
    context = RunContext(folder, FABRIC, STARTS_APART * start)
    fitted = fit_ensemble(members, seen, bench.target_cells(), bench.config, context)
    seconds = trained_in + time.process_time() - started
    fitted.save(folder, bench.stages.folder)
    originals, ensemble = fitted.predict_target(test.images), fitted.predict(test.images)
    at_home = fitted.predict_target(home.images)
    kept = {"originals": originals, "ensemble": ensemble, "labels": test.labels}
    of_seen = ensemble if seen is test else fitted.predict(seen.images)
    np.savez(folder / PREDICTIONS, **kept, seen=of_seen, home=at_home, home_labels=home.labels)
    return {
        "originals": _scores(test, originals),
        "ensemble": _scores(test, ensemble) | {"seconds": seconds},
        "home": _scores(home, at_home),
        "left out": dict(fitted.left_out),
        "weight": None if fitted.site_statistics is None else fitted.site_statistics.weight,
    }


def _distilled(
    bench: Bench,
    seen: CellSet,
    test: CellSet,
    others: list[CellSet],
    start: int,
    prediction: Probabilities,
    folder: Path,
) -> dict[str, Any]:
    """Distill the ensemble's prediction of the cells that are seen; return the figures of the single classifier."""
    members, _ = bench.members(start, others)
    home = bench.cells(bench.target, "test", bench.recipe.ensemble_px)
    started = time.process_time()
    ensemble = FittedEnsemble(members.color, members.shape, {})
    context = RunContext(folder, FABRIC, STARTS_APART * start)
    classifier = open_model(distill(ensemble, seen, prediction, DISTILLATION, context)).classifier
    seconds = time.process_time() - started
    found, at_home = (classifier.probabilities(cells.images) for cells in (test, home))
    np.savez(folder / PREDICTIONS, **{ALONE: found, "home": at_home})
    return {
        "one classifier": _scores(test, found) | {"seconds": seconds},
        "one classifier, home": _scores(home, at_home),
    }


def _scores(cells: CellSet, prediction: Probabilities) -> dict[str, Any]:
    predicted = prediction.argmax(axis=1)
    counts = confusion_counts(cells.labels, predicted, len(cells.classes))
    right, labeled, given = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return {
        "balanced": balanced_accuracy(cells.labels, predicted, len(cells.classes)),
        "f1": float((2 * right / np.maximum(labeled + given, 1))[labeled > 0].mean()),
        "recall": (right / np.maximum(labeled, 1)).tolist(),
        "precision": (right / np.maximum(given, 1)).tolist(),
        "ece": expected_calibration_error(prediction, cells.labels),
        "n": len(cells),
    }


def _print(classes: tuple[str, ...], runs: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Print lines for each hospital, worst first."""
    print("n, mean balanced accuracy and its lowest and highest over the starts, macro-F1, calibration error, mean")
    print(
        f"precision and recall of {', '.join(classes)}, most CPU seconds of training and fitting, and of distillation"
    )
    print(ROW.format("", "targets", "", "mean", "lowest", "highest", "F1", "ECE", "precision", "recall, CPU seconds"))
    worst = {key: np.mean([one["ensemble"]["balanced"] for one in found]) for key, found in runs.items()}
    for (name, targets), found in sorted(runs.items(), key=lambda item: worst[item[0]]):
        for arm in ARMS:
            _print_arm(name, targets, arm, classes, found)
    for (name, targets), found in runs.items():
        home = [np.mean([one[arm]["balanced"] for one in found]) for arm in ("home", "one classifier, home")]
        shown = ", ".join("none" if one["weight"] is None else f"{one['weight']:.2f}" for one in found)
        gains = ", ".join(f"{one['ensemble']['balanced'] - one['originals']['balanced']:+.3f}" for one in found)
        left_out = sorted({method for one in found for method in one["left out"]})
        print(
            f"{name}, {targets}: home {home[0]:.3f}, of one classifier {home[1]:.3f}; ensemble beyond originals, each "
            f"start {gains}; weight of the source's statistics {shown}; implausible {', '.join(left_out) or 'none'}"
        )


def _print_arm(name: str, targets: str, arm: str, classes: tuple[str, ...], found: list[dict[str, Any]]) -> None:
    values = [one[arm]["balanced"] for one in found]
    means = [np.mean([one[arm][key] for one in found]) for key in ("f1", "ece")]
    lists = [
        " ".join(f"{value:.2f}" for value in np.mean([one[arm][key] for one in found], axis=0))
        for key in ("precision", "recall")
    ]
    spent = max(one[arm].get("seconds", 0) for one in found)
    figures = [f"{value:.3f}" for value in (np.mean(values), min(values), max(values), *means)]
    print(ROW.format(name, targets, arm, *figures, lists[0], lists[1] + (f"  {spent:.0f} s" if spent else "")))
    if name in DOUBTFUL:
        kept = [place for place, kind in enumerate(classes) if kind not in DOUBTFUL[name]]
        mean = np.mean([[one[arm]["recall"][place] for place in kept] for one in found])
        print(f"{'':42s} mean recall without {', '.join(DOUBTFUL[name])}: {mean:.3f}")


if __name__ == "__main__":
    main()
