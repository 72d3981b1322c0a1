"""Are cells found that belong to none of the classes? By several scores, at home and at a hospital that was left out.

    python benchmarks/leave_one_out.py --out runs/leave-one-out --sources bccd,tecom,raabin --targets 1
    python benchmarks/unknown_cells.py --out runs/leave-one-out

Read what the first command kept. Cells of other classes are basophils, erythroblasts and immature granulocytes of
Hospital Clinic, and the basophils of Raabin-WBC that the authors labeled by eye. No classifier has seen any of them.

- `largest probability`: of the ensemble (at home, of its members); `one classifier`: of the distilled one.
- `other cells at home`: ridge regressions on the members' features tell the Clinic's known cells from its cells of
  other classes, never of the class that is scored; with the source's batch norm statistics at another hospital. At
  Raabin-WBC the ensemble was fitted without the basophils, or (`fitted with them`) to all cells.

The first table is the area under the ROC curve; the share of cells of other classes that a limit takes out with 5 % of
the known ones, which is set with labels; and the shares of known and of other cells that a limit takes out which is set
at home, at 5 % of known cells held out. The second table is the share of known cells at each hospital that a limit of
one's own hospital takes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.ensemble.fitted import ORIGINAL, FittedEnsemble
from hemabridge.ensemble.members import classifiers_of
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import open_model
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import read_site
from hemabridge.sampling import evenly_spaced
from hemabridge.training.run_context import RunContext
from hemabridge.training.snapshots import list_snapshots
from hemabridge.workflows.adapt.certainty import KNOWN_REFUSED, unknown_limit
from leave_one_out import PREDICTIONS
from recommended_bench import BY_EYE, FABRIC, STARTS_APART, Bench, kept_bench, real_site

OTHERS = ("basophil", "erythroblast", "immature_granulocyte")
SHOWN = "basophil"
"""The class that a hospital that was left out has, too."""
EACH = 80
"""Cells of each class of `OTHERS` at the Clinic."""
REFERENCE = 400
"""Known cells of the Clinic from which the regression learns."""
STRENGTH = 0.1
"""Penalty of the ridge regression for each feature."""
OTHER_CELLS = "other cells at home"
Scores = NDArray[np.float64]


def main() -> None:
    """Print both tables."""
    assert __doc__
    bench, data, starts, names = kept_bench(__doc__)
    _print_scores(bench, data, starts)
    _print_limits(bench, data, starts, names)


def _print_scores(bench: Bench, data: Path, starts: Sequence[int]) -> None:
    found: dict[tuple[str, str, str], list[list[float]]] = {}
    for start in starts:
        for key, scores in _scored(bench, data, start):
            limits = [float(np.quantile(known, 1 - KNOWN_REFUSED)) for known in (scores.known, scores.home)]
            shares = [float((scores.other > limit).mean()) for limit in limits]
            refused = float((scores.known > limits[1]).mean())
            found.setdefault(key, []).append([auroc(scores.known, scores.other), shares[0], refused, shares[1]])
    print("| hospital | other class | score | AUROC | others out, of 5 % known | known out, limit of home | others |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for key, values in sorted(found.items(), key=lambda item: item[0][0] != BY_EYE):
        shown = [f"{np.mean(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in zip(*values, strict=True)]
        print("| " + " | ".join((*key, *shown)) + " |")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of known cells, of cells of another class, and of the target's known cells held out; large for unknown."""

    known: Scores
    other: Scores
    home: Scores


def _scored(bench: Bench, data: Path, start: int) -> Iterator[tuple[tuple[str, str, str], Scored]]:
    """Yield hospital, class and score, and the scores."""
    size_px = bench.recipe.ensemble_px
    home, others = bench.cells(bench.target, "test", size_px).images, _others(data, size_px)
    folder = bench.stages.folder / "figures" / f"{BY_EYE}-{start}"
    fitted = FittedEnsemble.load(folder, bench.stages.folder, {})
    distilled = open_model(list_snapshots(bench.stages.folder / "distilled" / folder.name)[-1].path).classifier
    known, shown = _of_source(bench, data, size_px)
    with np.load(folder / PREDICTIONS) as kept:
        at_home, there = _unsure(kept["home"]), _unsure(kept["ensemble"])
    for kind, images in others.items():
        scored = Scored(at_home, _unsure(fitted.predict_target(images)), at_home)
        yield ("home", kind, "largest probability"), scored
    yield (BY_EYE, SHOWN, "largest probability"), Scored(there, _unsure(fitted.predict(shown)), at_home)
    by_one = [_unsure(distilled.probabilities(images)) for images in (known.images, shown, home)]
    yield (BY_EYE, SHOWN, "one classifier"), Scored(*by_one)
    target, mixed = _reference(bench), _fitted_with(bench, known, shown, start)
    for kind in OTHERS:
        rule = _Rule(fitted, target, np.concatenate([images for each, images in others.items() if each != kind]), home)
        yield ("home", kind, OTHER_CELLS), Scored(rule.home, rule.scores(fitted, others[kind]), rule.home)
        for end, ensemble in (("", fitted), (", fitted with them", mixed)):
            if kind == SHOWN:
                found = [rule.scores(ensemble, images, at_source=True) for images in (known.images, shown)]
                yield (BY_EYE, kind, OTHER_CELLS + end), Scored(*found, rule.home)


def _fitted_with(bench: Bench, known: CellSet, others: UInt8Images, start: int) -> FittedEnsemble:
    """Return the ensemble fitted to known cells and cells of another class together."""
    images = np.concatenate([known.images, others])
    names = tuple(map(str, range(len(images))))
    cells = CellSet(images, np.full(len(images), -1, np.int64), known.classes, names, names, known.crop_px)
    context = RunContext(bench.stages.folder, FABRIC, STARTS_APART * start)
    return bench.fitted(bench.members(start)[0], cells, context)


class _Rule:
    """Regressions, one for each member, that tell `others` from `known` cells by the member's features.

    The score is the sum over color and shape members of their mean, in standard deviations of known cells at home.
    """

    def __init__(self, fitted: FittedEnsemble, known: UInt8Images, others: UInt8Images, home: UInt8Images) -> None:
        counts = [len(known), len(others)]
        answers, weights = np.repeat([-1.0, 1.0], counts), np.repeat([1 / count for count in counts], counts)
        self.models: list[list[Pipeline]] = []
        for members in _views(fitted, at_source=False):
            self.models.append([])
            for member in members:
                features = np.concatenate([_features(member, known), _features(member, others)])
                model = make_pipeline(StandardScaler(), Ridge(STRENGTH * features.shape[1]))
                self.models[-1].append(model.fit(features, answers, ridge__sample_weight=weights * len(answers) / 2))
        raw = self._raw(_views(fitted, at_source=False), home)
        self.mean, self.deviation = raw.mean(axis=1, keepdims=True), raw.std(axis=1, keepdims=True)
        self.home: Scores = ((raw - self.mean) / self.deviation).sum(axis=0)

    def scores(self, fitted: FittedEnsemble, images: UInt8Images, *, at_source: bool = False) -> Scores:
        """Return float64[N], with the source's batch norm statistics or the target's."""
        raw = self._raw(_views(fitted, at_source=at_source), images)
        return np.asarray(((raw - self.mean) / self.deviation).sum(axis=0))

    def _raw(self, views: Sequence[Sequence[Classifier]], images: UInt8Images) -> Scores:
        found = []
        for models, members in zip(self.models, views, strict=True):
            pairs = zip(models, members, strict=True)
            found.append(np.mean([model.predict(_features(member, images)) for model, member in pairs], axis=0))
        return np.stack(found)


def _views(fitted: FittedEnsemble, *, at_source: bool) -> tuple[Sequence[Classifier], Sequence[Classifier]]:
    """Return the color and the shape members that predict from original images."""
    if not at_source:
        return classifiers_of(fitted.color_members), classifiers_of(fitted.shape_members)
    assert fitted.site_statistics is not None
    return fitted.site_statistics.color[ORIGINAL], fitted.site_statistics.shape


def _features(classifier: Classifier, images: UInt8Images) -> NDArray[np.float32]:
    """Return the inputs of the head, each of length 1."""
    assert isinstance(classifier, NetworkClassifier)
    found = classifier.features(images)
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def _others(data: Path, size_px: int) -> dict[str, UInt8Images]:
    """Return the Clinic's cells of other classes."""
    manifest = read_site(SiteRecipe(site="clinic", folder=data / "clinic", crop_px=180))
    found = {}
    for kind in OTHERS:
        own = manifest.select(pl.col("class") == kind)
        some = pl.col("path").is_in([own.column("path")[place] for place in evenly_spaced(len(own), EACH)])
        found[kind] = load_cells(own.select(some), classes=(kind,), size_px=size_px, crop_px=180).images
    return found


def _of_source(bench: Bench, data: Path, size_px: int) -> tuple[CellSet, UInt8Images]:
    """Return Raabin-WBC's cells of known classes, and its basophils."""
    site = real_site(bench, BY_EYE, data)
    known = site.cells(tuple(sorted(set(site.manifest.column("split")))), bench.classes, size_px, lambda *_: None)
    named = Path(__file__).with_name(f"{BY_EYE}_by_eye.csv")
    spec = SiteRecipe(site=BY_EYE, manifest=named, root=data / BY_EYE / "unlabelled")
    basophils = read_site(spec).select(pl.col("class") == SHOWN)
    return known, load_cells(basophils, classes=(SHOWN,), size_px=size_px, crop_px=site.crop_px).images


def _reference(bench: Bench) -> UInt8Images:
    cells: CellSet = bench.target_cells()
    classes = len(cells.classes)
    return cells.images[cells.drawn(np.full(classes, 1.0 / classes), REFERENCE, np.random.default_rng(0))]


def _print_limits(bench: Bench, data: Path, starts: Sequence[int], names: Sequence[str]) -> None:
    print(f"\n| hospital | largest probability | one classifier | {OTHER_CELLS} | starts with a limit |")
    print("| --- | --- | --- | --- | --- |")
    size_px, out = bench.recipe.ensemble_px, bench.stages.folder
    home, target = bench.cells(bench.target, "test", size_px).images, _reference(bench)
    others = np.concatenate(list(_others(data, size_px).values()))
    for name in names:
        site = real_site(bench, name, data)
        cells = site.cells(tuple(sorted(set(site.manifest.column("split")))), bench.classes, size_px, lambda *_: None)
        shares: list[list[float]] = []
        limits = 0
        for start in starts:
            with (
                np.load(out / "figures" / f"{name}-{start}" / PREDICTIONS) as kept,
                np.load(out / "distilled" / f"{name}-{start}" / PREDICTIONS) as own,
            ):
                pairs = [(kept["home"], kept["ensemble"]), (own["home"], own["distilled"])]
            sure = [(at_home.max(axis=1), there.max(axis=1)) for at_home, there in pairs]
            limits += unknown_limit(*sure[1]) is not None
            fitted = FittedEnsemble.load(out / "figures" / f"{name}-{start}", out, {})
            rule = _Rule(fitted, target, others, home)
            scores = [(1 - at_home, 1 - there) for at_home, there in sure]
            scores.append((rule.home, rule.scores(fitted, cells.images, at_source=True)))
            shares.append([float((there > np.quantile(known, 1 - KNOWN_REFUSED)).mean()) for known, there in scores])
        shown = [f"{np.mean(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in zip(*shares, strict=True)]
        print(f"| {name} | {' | '.join(shown)} | {limits} of {len(starts)} |", flush=True)


def _unsure(probabilities: NDArray[np.float32]) -> Scores:
    return np.asarray(1.0 - probabilities.max(axis=1), np.float64)


def auroc(known: Scores, other: Scores) -> float:
    """Return the chance that a cell of another class has a larger score than a known one; ties count half."""
    ranks = rankdata(np.concatenate([known, other]))[len(known) :]
    return float((ranks.sum() - len(other) * (len(other) + 1) / 2) / (len(known) * len(other)))


if __name__ == "__main__":
    main()
