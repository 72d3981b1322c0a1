"""Comparison of two runs on the same cells: rescued and broken cells, and McNemar's test."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.predictions import Predictions
from hemabridge.metrics.statistics import holm, mcnemar_exact

ORIGINAL: Final = "original"
"""The value of `images` for a run on images that are not re-stained."""

Pair: TypeAlias = tuple[Predictions, Predictions]
"""A run, and the run with which it is compared."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Exact McNemar test of `run` against `other`; `p_holm` is corrected over all comparisons of one call."""

    run: Predictions
    other: Predictions
    rescued: int
    broken: int
    p: float
    p_holm: float


def compare(pairs: Sequence[Pair]) -> tuple[Comparison, ...]:
    """Test the runs of each pair. Holm's correction is over all pairs.

    Raises:
        ValueError: the two runs of a pair have different cells.
    """
    counts = [count_changed(other, run) for run, other in pairs]
    p_values = [mcnemar_exact(rescued, broken) for rescued, broken in counts]
    return tuple(
        Comparison(run, other, *count, p, p_holm)
        for (run, other), count, p, p_holm in zip(pairs, counts, p_values, holm(p_values), strict=True)
    )


def pairs_with_originals(runs: Sequence[Predictions]) -> list[Pair]:
    """Pair each run on re-stained images with that on the originals, with the same classifier, labels and site.

    Raises:
        ValueError: there are several parts, a repeated run, or re-stained images without their originals.
    """
    if len({run.part for run in runs}) > 1:
        raise ValueError(f"expected predictions of one part, got {sorted({run.part for run in runs})}")
    if len({run.run for run in runs}) != len(runs):
        raise ValueError("expected every run once, got one twice")
    originals = {(run.site, run.classifier, run.labels_used): run for run in runs if run.images == ORIGINAL}
    pairs = []
    for run in runs:
        if run.images == ORIGINAL:
            continue
        original = originals.get((run.site, run.classifier, run.labels_used))
        if original is None:
            raise ValueError(f"expected predictions on the original images for {run.run}, got none")
        pairs.append((run, original))
    return pairs


def pairs_with_nothing_done(runs: Iterable[Predictions], variants: Mapping[str, str]) -> list[Pair]:
    """Pair each run with that of the unchanged classifier on originals without labels, if there is such a run.

    Args:
        runs: runs of one part.
        variants: the classifier from which a variant was made, by the variant's name.
    """
    runs = list(runs)
    starts = {(r.site, r.classifier): r for r in runs if r.images == ORIGINAL and r.labels_used == 0}
    found = ((run, starts.get((run.site, variants.get(run.classifier, run.classifier)))) for run in runs)
    return [(run, start) for run, start in found if start is not None and start is not run]


def count_changed(original: Predictions, restained: Predictions) -> tuple[int, int]:
    """Count the cells that re-staining rescued (wrong, then right) and broke (right, then wrong), matched by id.

    Raises:
        ValueError: the two runs have different cells, or different true classes.
    """
    order = places_of(restained, original)
    was_right = right(original)[order]
    is_right = right(restained)
    return int(np.sum(~was_right & is_right)), int(np.sum(was_right & ~is_right))


def places_of(run: Predictions, other: Predictions) -> NDArray[np.int64]:
    """Return the index in `other` of each cell of `run`, int64[N].

    Raises:
        ValueError: the two runs have different cells, or different true classes.
    """
    place = {cell: index for index, cell in enumerate(other.ids)}
    if place.keys() != set(run.ids):
        raise ValueError(f"expected the same cells in {other.run} and {run.run}, got others")
    order = np.array([place[cell] for cell in run.ids], dtype=np.int64)
    if not np.array_equal(other.truth[order], run.truth):
        raise ValueError(f"expected the same true classes in {other.run} and {run.run}, got others")
    return order


def right(run: Predictions) -> NDArray[np.bool_]:
    """Return whether each cell was classified correctly, bool[N]."""
    return np.asarray(run.predicted == run.truth)
