"""The confidence of classifiers: calibration, and the risk-coverage curve of selective classification.

Probabilities are float[N, C], and each row sums to 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 10
"""Number of bins of confidence of equal width, each with its upper end: (0, 0.1], ..., (0.9, 1]."""
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class ReliabilityBin:
    """The cells of one bin: their number, their mean confidence 0..1, and their accuracy 0..1."""

    n: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], bins: int = BINS
) -> tuple[ReliabilityBin | None, ...]:
    """Assign cells to bins of equal width by the probability of their predicted class; None for an empty bin.

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On Calibration of Modern Neural Networks, Eqs. 1 and 2,
        arXiv:1706.04599.
    """
    _check(probabilities, truth)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    # Edges have the precision of the probabilities, so that 0.9 is in the bin that ends there.
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
    """Return the mean difference, 0..1, of confidence and accuracy over `bins` of equal width, weighted by cells.

    It is biased upwards for few cells, so compare runs on the same cells only.

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
    """Return the temperature, 0.05..20, with the largest likelihood of the true classes, int64[N].

    Fit it on cells that are not scored. The logarithms of the probabilities are used as logits; they differ by a
    constant, which the softmax removes.

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
    """Return the probabilities of logits divided by `temperature`, float64[N, C]; predicted classes do not change."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    scaled: NDArray[np.float64] = softmax(logits / temperature, axis=1)
    return scaled


def _check(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> None:
    if probabilities.ndim != 2 or not len(truth) or truth.shape != probabilities.shape[:1]:
        raise ValueError(
            f"expected probabilities[N, C] and truth[N] of at least one cell, got {probabilities.shape}, {truth.shape}"
        )


def risk_coverage(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the risk if the 1, 2, ..., N cells of highest confidence are classified and the others left to a person.

    Risk is the share of wrong cells among the classified ones. For cells of equal confidence, it is the mean over all
    of their orders.

    Args:
        confidence: float[N], such as the probability of the predicted class.
        right: bool[N], whether each cell was classified correctly.

    Returns:
        float64[N], 0..1; the last one is 1 - accuracy.

    Raises:
        ValueError: there is no cell, or the lengths differ.

    References:
        El-Yaniv and Wiener (2010), On the foundations of noise-free selective classification, JMLR 11, 1605-1641;
        Geifman and El-Yaniv (2017), arXiv:1705.08500.
    """
    if confidence.ndim != 1 or not len(confidence) or confidence.shape != right.shape:
        raise ValueError(f"expected confidence[N] and right[N], N at least 1, got {confidence.shape}, {right.shape}")
    _, place, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=~right) / counts
    expected = np.repeat(wrong, counts)
    risks: NDArray[np.float64] = np.cumsum(expected) / np.arange(1, len(expected) + 1)
    return risks


def area_under_risk_coverage(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Return the mean of `risk_coverage` over all coverages, 0..1; lower is better.

    References:
        Geifman, Uziel and El-Yaniv (2019), Bias-reduced uncertainty estimation for deep neural classifiers, section 2,
        arXiv:1805.08206.
    """
    return float(risk_coverage(confidence, right).mean())
