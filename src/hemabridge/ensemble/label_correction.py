"""The correction of predictions by a few labels: what is wrong at a labeled cell is likely wrong at cells like it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import UNKNOWN
from hemabridge.errors import InputError
from hemabridge.sampling import evenly_spaced

NEIGHBORS: Final = 10
"""The squared length of the kernel is the median squared distance of a cell from its neighbor of this order."""
NOISE: Final = 1.0
"""Variance of a label about the corrected function, where that of the function about the prediction is 1. Labels are
sometimes wrong, and one label among ten neighbors should not outweigh the prediction."""
SAMPLE: Final = 1000
"""The length of the kernel is measured at so many cells, spread evenly over all."""
_LEAST: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Corrected:
    """Predictions after the correction.

    Attributes:
        probabilities: of all cells, float32[N, C]; rows sum to 1.
        held_out: the class of each labeled cell that is predicted from all other labels, int64[N]; -1 without a label.
    """

    probabilities: Probabilities
    held_out: NDArray[np.int64]


def correct_by_labels(
    prediction: Probabilities, features: NDArray[np.floating], labels: NDArray[np.int64]
) -> Corrected:
    """Correct predictions by labels of some of the cells; nothing is trained.

    The errors at the labeled cells, label minus predicted probability, are interpolated over the features by Gaussian
    process regression with a squared exponential kernel (Rasmussen & Williams 2006, Eq. 2.25), and added to the
    predictions. Far from all labels nothing changes. `held_out` is the exact leave-one-out prediction (their Eq. 5.12).

    Args:
        prediction: class probabilities, float32[N, C].
        features: float[N, D], in any unit; the distance of two cells tells how much they differ.
        labels: int64[N], -1 for cells without a label.

    Raises:
        InputError: no cell has a label, or the arrays differ in length.
    """
    if not len(prediction) == len(features) == len(labels):
        raise InputError(
            f"expected as many features and labels as predictions, got {len(features)} and {len(labels)} for "
            f"{len(prediction)}"
        )
    rows = np.flatnonzero(labels != UNKNOWN)
    if not len(rows):
        raise InputError("expected at least one label to correct predictions with, got none")
    some = evenly_spaced(len(features), SAMPLE)
    order = min(NEIGHBORS, len(features) - 1)
    nearest = np.partition(_squared_distances(features[some], features), order, axis=1)[:, order]
    kernel = np.exp(-_squared_distances(features, features[rows]) / (2 * max(float(np.median(nearest)), 1e-12)))
    base = prediction.astype(np.float64)
    errors = np.eye(base.shape[1])[labels[rows]] - base[rows]
    inverse = np.linalg.inv(kernel[rows] + NOISE * np.eye(len(rows)))
    weights = inverse @ errors
    left_out = base[rows] + errors - weights / np.diag(inverse)[:, None]
    held_out = np.full(len(labels), UNKNOWN, np.int64)
    held_out[rows] = left_out.argmax(axis=1)
    found = np.clip(base + kernel @ weights, _LEAST, None)
    return Corrected((found / found.sum(axis=1, keepdims=True)).astype(np.float32), held_out)


def _squared_distances(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64[N, M] for float[N, D] and float[M, D]."""
    norms = [(points.astype(np.float64) ** 2).sum(axis=1) for points in (one, other)]
    products = (one @ other.T).astype(np.float64)
    distances: NDArray[np.float64] = np.maximum(norms[0][:, None] + norms[1][None, :] - 2 * products, 0)
    return distances
