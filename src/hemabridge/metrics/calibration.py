"""Whether a classifier is as often right as it says. Probabilities are float[N, C] of rows that sum to 1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 10
"""Equal widths of confidence, each with its upper end: (0, 0.1], ..., (0.9, 1]."""
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class ReliabilityBin:
    """The cells of one range of confidence: how many, how sure the classifier was, and how often it was right."""

    n: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], bins: int = BINS
) -> tuple[ReliabilityBin | None, ...]:
    """Sort cells by the probability of their predicted class into bins of equal width; None for an empty one.

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, Eqs. 1 and 2,
        arXiv:1706.04599.
    """
    _check(probabilities, truth)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    # Edges are compared as float32 has them, so that a probability of 0.9 lies in the bin that ends there.
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(probabilities.dtype)
    places = np.searchsorted(edges, probabilities.max(axis=1), side="left")
    found: list[ReliabilityBin | None] = []
    for place in range(bins):
        own = places == place
        n = int(own.sum())
        found.append(ReliabilityBin(n, float(confidence[own].mean()), float(right[own].mean())) if n else None)
    return tuple(found)


def expected_calibration_error(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], bins: int = BINS
) -> float:
    """Return the mean distance, 0..1, of confidence and accuracy over `bins` of equal width, weighted by cells.

    It is too large on few cells, also for a perfect classifier: compare it between runs on the same cells only.

    References:
        Guo et al. (2017), Eq. 3, arXiv:1706.04599; Naeini, Cooper and Hauskrecht (2015), AAAI, 2901-2907.
    """
    filled = [b for b in reliability(probabilities, truth, bins) if b is not None]
    return float(sum(b.n * abs(b.confidence - b.accuracy) for b in filled) / len(truth))


def brier_score(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return the mean over cells of the squared distance between probabilities and truth, 0..2; 0 is best.

    References:
        Brier (1950), Verification of forecasts expressed in terms of probability, Eq. 2,
        doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    _check(probabilities, truth)
    wanted = np.eye(probabilities.shape[1])[truth]
    return float(np.mean(np.sum((probabilities - wanted) ** 2, axis=1)))


def fit_temperature(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return the temperature, 0.05..20, under which these cells' classes are most likely.

    Fit it on cells that are not scored. Logits are taken as the logarithms of the probabilities, which differ from
    them by a constant that the softmax removes.

    References:
        Guo et al. (2017), section 4.2, Eq. 9, arXiv:1706.04599.
    """
    _check(probabilities, truth)
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))

    def surprise(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(truth)), truth].mean())

    found = minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def with_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return float64[N, C], the probabilities of logits divided by `temperature`; the predicted classes stay."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    scaled: NDArray[np.float64] = softmax(logits / temperature, axis=1)
    return scaled


def _check(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> None:
    if probabilities.ndim != 2 or not len(truth) or truth.shape != probabilities.shape[:1]:
        raise ValueError(
            f"expected probabilities[N, C] and truth[N] of at least one cell, got {probabilities.shape}, {truth.shape}"
        )
