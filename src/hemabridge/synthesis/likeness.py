"""Similarity of synthetic cells to real ones of the intended class, and the choice of a snapshot by it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import InputError
from hemabridge.metrics.kernel_distance import KernelDistance
from hemabridge.metrics.resampling import percentile_interval
from hemabridge.metrics.statistics import wilson_interval
from hemabridge.synthesis.results import Estimate, Share, SnapshotCheck

Floats = NDArray[np.float64]

DRAWS = 1000
"""Resamples of the cells behind each bootstrap interval."""


def share_of(wanted: NDArray[np.bool_]) -> Share:
    """Return how many of the cells bool[N] are as wanted; N at least 1."""
    count, n = int(np.count_nonzero(wanted)), len(wanted)
    return Share(count, n, wilson_interval(count, n))


def called(probabilities: NDArray[np.floating], label: int) -> Share:
    """Return how many cells a classifier gives one class, by its largest probability: float[N, C], N at least 1."""
    return share_of(probabilities.argmax(axis=1) == label)


def kernel_distance(one: NDArray[np.floating], other: NDArray[np.floating], *, seed: int = 0) -> Estimate:
    """Return the kernel distance (KID) of two sets of features [N, D] and [M, D], with its bootstrap interval.

    Cells of both sets are drawn again with replacement, each set for itself (Efron and Tibshirani 1993, chapter 8,
    doi:10.1201/9780429246593).

    Raises:
        ValueError: a set has fewer than two cells, or the sets have different features.
    """
    distance = KernelDistance(one.astype(np.float64), other.astype(np.float64))
    rng = np.random.default_rng(seed)
    drawn = distance.resampled(*(_times_drawn(rng, len(features)) for features in (one, other)))
    return Estimate(distance.value(), percentile_interval(drawn))


def _times_drawn(rng: np.random.Generator, n: int) -> Floats:
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)


SLACK = 0.05
"""A snapshot may fall so far behind the best share of intended classes, and still win by its kernel distance."""


def choose(checks: Sequence[SnapshotCheck]) -> SnapshotCheck:
    """Return the snapshot nearest to real cells among those whose cells are of the intended class as often as any.

    Of those whose share lies at most `SLACK` below the best, the one of the smallest kernel distance; the earlier one
    of two that are equal.

    Raises:
        InputError: there is none.
    """
    if not checks:
        raise InputError("expected at least one snapshot to choose from, got none")
    best = max(check.intended.value for check in checks)
    return min((check for check in checks if check.intended.value >= best - SLACK), key=lambda check: check.kid)
