"""How far two predictions of the same cells agree; no label is needed."""

import numpy as np
from numpy.typing import NDArray

Answer = NDArray[np.floating]
"""Class probabilities [N, C], rows sum to 1, N at least 1."""


def soft_agreement(reference: Answer, answer: Answer) -> float:
    """Return how far two predictions agree, 0..1: the mean over classes, each of which weighs the same.

    For one class, it is the mean probability that `answer` gives the class, over cells weighted by the probability
    that `reference` gives it.
    """
    return float(soft_agreement_drawn(reference, answer, np.ones((1, len(reference))))[0])


def soft_agreement_drawn(reference: Answer, answer: Answer, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the soft agreement in each of B resamples of the cells, float64[B].

    Args:
        reference: see `soft_agreement`.
        answer: see `soft_agreement`.
        drawn: how often each cell is drawn, float64[B, N].
    """
    weights = reference.astype(np.float64)
    shares = drawn @ (weights * answer) / np.maximum(drawn @ weights, 1e-12)
    return np.asarray(shares.mean(axis=1))
