"""The soft agreement of two predictions for the same cells; no label is needed."""

import numpy as np
from numpy.typing import NDArray

Answer = NDArray[np.floating]
"""Class probabilities [N, C], rows sum to 1, N at least 1."""


def soft_agreement(reference: Answer, answer: Answer) -> float:
    """Return the soft agreement of two predictions, 0..1: the mean over classes, with equal weights.

    For one class, it is the weighted mean of the probabilities of this class in `answer`. The weight of a cell is the
    probability of this class in `reference`.
    """
    return float(soft_agreement_drawn(reference, answer, np.ones((1, len(reference))))[0])


def soft_agreement_drawn(reference: Answer, answer: Answer, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the soft agreement in each of B resamples of the cells, float64[B].

    Args:
        reference: see `soft_agreement`.
        answer: see `soft_agreement`.
        drawn: number of times that each cell is drawn, float64[B, N].
    """
    weights = reference.astype(np.float64)
    shares = drawn @ (weights * answer) / np.maximum(drawn @ weights, 1e-12)
    return np.asarray(shares.mean(axis=1))
