"""What does each part of the recommended ensemble give at a hospital that was left out?

    python benchmarks/leave_one_out.py --out runs/leave-one-out --sources bccd,tecom,raabin --targets 1
    python benchmarks/ensemble_parts.py --out runs/leave-one-out

Read what the first command kept, and score all labeled cells of each hospital with one part left out, or with fewer
members. Balanced accuracy, mean over the starts, and in the last columns its mean over the hospitals, and the spread of
that mean over the starts. Nothing is trained.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import NetworkClassifier, SnapshotClassifier
from hemabridge.classifiers.protocol import Classifier, Probabilities, mean_of
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import classifiers_of
from hemabridge.ensemble.pooling import mean_prediction, with_one_classifier
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.models import open_model
from hemabridge.training.snapshots import list_snapshots
from leave_one_out import scored_cells
from recommended_bench import Bench, kept_bench

ALL = slice(None)


def main() -> None:
    """Print a line for each set of parts."""
    assert __doc__
    bench, data, starts, names = kept_bench(__doc__)
    found: dict[str, list[float]] = {}
    for name in names:
        cells = scored_cells(bench, name, data)[1]
        for start in starts:
            for arm, prediction in _arms(bench, name, start, cells.images):
                score = balanced_accuracy(cells.labels, prediction.argmax(axis=1), len(cells.classes))
                found.setdefault(arm, []).append(score)
    row = "{:42s} " + "{:>12s} " * (len(names) + 2)
    print(row.format("", *names, "mean", "spread"))
    for arm, scores in found.items():
        table = np.reshape(scores, (len(names), len(starts)))
        means = table.mean(axis=0)
        print(row.format(arm, *(f"{value:.3f}" for value in (*table.mean(axis=1), means.mean(), np.ptp(means)))))


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predictions of every member of an ensemble, which pools any of them.

    Attributes:
        fitted: the ensemble.
        color: [statistics of target and source, kind of image, member, cell, class]; the originals come first.
        shape: [statistics, member, cell, class].
    """

    fitted: FittedEnsemble
    color: NDArray[np.float32]
    shape: NDArray[np.float32]

    def pooled(
        self, *, images: slice = ALL, color: slice = ALL, shape: slice = ALL, weight: float | None = None
    ) -> Probabilities:
        """Return the ensemble's prediction with some of its parts, and another weight of the source's statistics."""
        statistics = self.fitted.site_statistics
        assert statistics is not None
        part = replace(
            self.fitted,
            color_members=self.fitted.color_members[color],
            shape_members=self.fitted.shape_members[shape],
            site_statistics=statistics if weight is None else replace(statistics, weight=weight),
        )
        means = [
            (_mean(of_color[images, color]), _mean(of_shape[shape]) if part.shape_members else None)
            for of_color, of_shape in zip(self.color, self.shape, strict=True)
        ]
        return part.combined(*means)


def _arms(bench: Bench, name: str, start: int, images: UInt8Images) -> Iterator[tuple[str, Probabilities]]:
    """Yield each set of parts with its prediction."""
    fitted = FittedEnsemble.load(bench.stages.folder / f"figures/{name}-{start}", bench.stages.folder, {})
    found = _predicted(fitted, images, mirrored=True)
    whole = found.pooled()
    yield "ensemble", whole
    yield "  without mirrored views", _predicted(fitted, images, mirrored=False).pooled()
    yield "  without the source's statistics", found.pooled(weight=0.0)
    yield "  without the target's statistics", found.pooled(weight=1.0)
    yield "  without re-stainings", found.pooled(images=slice(1))
    yield "  without the original images", found.pooled(images=slice(1, None))
    yield "  without shape members", found.pooled(shape=slice(0))
    for count in range(1, found.color.shape[2]):
        yield f"  {count} color members, all shape members", found.pooled(color=slice(count))
    for count in range(1, found.shape.shape[1]):
        yield f"  all color members, {count} shape members", found.pooled(shape=slice(count))
    yield "  1 color and 1 shape member", found.pooled(color=slice(1), shape=slice(1))
    (snapshot,) = list_snapshots(bench.stages.folder / f"distilled/{name}-{start}")[-1:]
    one = open_model(snapshot.path).classifier
    assert isinstance(one, SnapshotClassifier)
    single = NetworkClassifier(one.network, one.preprocessing, one.classes, one.name)
    alone, plain = (each.probabilities(images) for each in (one, single))
    yield "one classifier", alone
    yield "one classifier, one view", plain
    yield "both", with_one_classifier(whole, alone)
    yield "both, one classifier of one view", with_one_classifier(whole, plain)


def _predicted(fitted: FittedEnsemble, images: UInt8Images, *, mirrored: bool) -> Predicted:
    """Ask every member with both statistics."""
    statistics = fitted.site_statistics
    assert statistics is not None
    color, shape = classifiers_of(fitted.color_members), classifiers_of(fitted.shape_members)

    def each(members: Sequence[Classifier], shown: UInt8Images) -> list[Probabilities]:
        return [mean_prediction([member], shown, mirrored=mirrored) for member in members]

    by_kind = [(each(color, shown), each(statistics.color[kind], shown)) for kind, shown in fitted.inputs(images)]
    by_shape = (each(shape, images), each(statistics.shape, images))
    return Predicted(fitted, np.array(by_kind).swapaxes(0, 1), np.array(by_shape))


def _mean(predictions: NDArray[np.float32]) -> Probabilities:
    """Return the mean of predictions [..., cell, class]."""
    return mean_of(list(predictions.reshape(-1, *predictions.shape[-2:])))


if __name__ == "__main__":
    main()
