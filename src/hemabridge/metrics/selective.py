"""The accuracy of a classifier that leaves the cells of lowest confidence to a person."""

import numpy as np
from numpy.typing import NDArray


def risk_coverage(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the risk when the surest 1, 2, ..., N cells are classified and the others left to a person.

    Risk is the share of the classified cells that are wrong. Where cells are equally sure, it is the mean over all
    orders of them.

    Args:
        confidence: float[N], such as the probability of the predicted class.
        right: bool[N].

    Returns:
        float64[N], 0..1; the last one is 1 - accuracy.

    Raises:
        ValueError: no cells, or other lengths.

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
