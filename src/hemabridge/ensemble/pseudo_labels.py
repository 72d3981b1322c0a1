"""What a site's cells are pseudo_labels to be, for training on them: from steps classifiers, or from a few labels."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.errors import InputError

PseudoLabels: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Class shares, float32[N, C], rows sum to 1; and how often each cell is drawn, float64[N], 0 for never."""

LABEL_WEIGHT = 3.0
"""A cell whose class a person stated is drawn so many times as often as one whose class is only pseudo_labels."""


def pseudo_labels(probabilities: Probabilities, sure: float, known: NDArray[np.int64] | None = None) -> PseudoLabels:
    """Turn steps answers, and labels if there are any, into class shares and weights to train on.

    Shares are sharpened: p^2, made to sum to 1 (Xie, Girshick & Farhadi 2016, arXiv:1511.06335, Eq. 3 without the
    division by the class's size). Cells whose largest probability is not above `sure` are never drawn; each class is
    drawn equally often. A known label takes the place of the answer.

    Args:
        probabilities: float32[N, C].
        sure: 0..1.
        known: int64[N], -1 for unknown; None if no label is used (self-training).

    Returns:
        float32[N, C] of rows that sum to 1, and float64[N].

    Raises:
        InputError: no cell is sure or known.
    """
    shares = probabilities.astype(np.float64) ** 2
    shares /= shares.sum(axis=1, keepdims=True)
    stated = np.zeros(len(shares), dtype=bool) if known is None else known >= 0
    if known is not None:
        shares[stated] = np.eye(shares.shape[1])[known[stated]]
    weights = np.where(stated, LABEL_WEIGHT, (probabilities.max(axis=1) > sure) & ~stated)
    if not weights.any():
        raise InputError(f"expected cells that the classifiers are more than {sure} sure of, got none of {len(shares)}")
    labels = shares.argmax(axis=1)
    totals = np.bincount(labels, weights, minlength=shares.shape[1])
    return shares.astype(np.float32), weights / np.maximum(totals, 1e-12)[labels]


def few_labels(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the labels with all but `count` made unknown: as many of each class as there are, the rest in turn.

    Args:
        labels: int64[N], each 0 or above.
        count: how many a person would have to give; at most N.
        seed: which ones.

    Raises:
        InputError: there are not so many.
    """
    if not 1 <= count <= len(labels):
        raise InputError(f"expected 1 to {len(labels)} labels to use, got {count}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    # The k-th cell of a class comes in round k: rounds run over all classes, so small classes are used up first.
    rounds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        rounds[own] = np.arange(len(own))
    chosen = order[np.argsort(rounds[order], kind="stable")][:count]
    kept = np.full(len(labels), -1, dtype=np.int64)
    kept[chosen] = labels[chosen]
    return kept
