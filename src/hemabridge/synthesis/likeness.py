"""Similarity of synthetic cells to real ones of the intended class, and the choice of a snapshot by it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import InputError
from hemabridge.metrics.kernel_distance import KernelDistance
from hemabridge.metrics.resampling import percentile_interval
from hemabridge.metrics.statistics import wilson_interval
from hemabridge.synthesis.pair_results import Estimate, Share, SnapshotCheck

Floats = NDArray[np.float64]

DRAWS = 1000
"""Number of bootstrap resamples of the cells for each interval."""


def share_of(wanted: NDArray[np.bool_]) -> Share:
    """Return the share of cells for which bool[N] is true; N at least 1."""
    count, n = int(np.count_nonzero(wanted)), len(wanted)
    return Share(count, n, wilson_interval(count, n))


def called(probabilities: NDArray[np.floating], label: int) -> Share:
    """Return the share of cells that are predicted as one class, by the largest of float[N, C]; N at least 1."""
    return share_of(probabilities.argmax(axis=1) == label)


def kernel_distance(one: NDArray[np.floating], other: NDArray[np.floating], *, seed: int = 0) -> Estimate:
    """Return the kernel distance (KID) of two sets of features [N, D] and [M, D], with its bootstrap interval.

    Cells are resampled with replacement within each set (Efron and Tibshirani 1993, chapter 8,
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
"""A snapshot is considered if its share of cells of the intended class is at most this far below the best share."""


def choose(checks: Sequence[SnapshotCheck]) -> SnapshotCheck:
    """Return the snapshot that makes the synthetic cells, chosen on validation cells.

    Among the snapshots whose share of cells of the intended class is at most `SLACK` below the best share, it is the
    one with the smallest kernel distance to real cells; of equal ones the earliest. The classifier that scores the
    results is not used.

    Raises:
        InputError: there is no snapshot.
    """
    if not checks:
        raise InputError("expected at least one snapshot to choose from, got none")
    best = max(check.intended.value for check in checks)
    return min((check for check in checks if check.intended.value >= best - SLACK), key=lambda check: check.kid)
