"""Pseudo-labels: an ensemble's predictions, and a few labels if there are any, as targets for fine-tuning."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.errors import InputError

PseudoLabels: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Class probabilities, float32[N, C], rows sum to 1; and the weight of each cell in the draws, float64[N]."""

LABEL_WEIGHT = 3.0
"""Weight of a labeled cell in the draws; that of a cell with a pseudo-label is 1."""


def pseudo_labels(
    prediction: Probabilities, min_confidence: float, labels: NDArray[np.int64] | None = None
) -> PseudoLabels:
    """Turn predictions, and labels if there are any, into class probabilities and weights to train on.

    Predictions are sharpened: p^2, normalized (Xie, Girshick & Farhadi 2016, arXiv:1511.06335, Eq. 3 without the
    division by the class's size). Cells whose largest probability is not above `min_confidence` are never drawn; each
    class is drawn equally often. A label replaces the prediction.

    Args:
        prediction: float32[N, C].
        min_confidence: 0..1.
        labels: int64[N], -1 for unknown; None if no label is used (self-training).

    Returns:
        float32[N, C] of rows that sum to 1, and float64[N].

    Raises:
        InputError: no cell has a label or a probability above `min_confidence`.
    """
    targets = prediction.astype(np.float64) ** 2
    targets /= targets.sum(axis=1, keepdims=True)
    labeled = np.zeros(len(targets), dtype=bool) if labels is None else labels >= 0
    if labels is not None:
        targets[labeled] = np.eye(targets.shape[1])[labels[labeled]]
    weights = np.where(labeled, LABEL_WEIGHT, (prediction.max(axis=1) > min_confidence) & ~labeled)
    if not weights.any():
        raise InputError(
            f"expected cells that are predicted with a probability above {min_confidence}, got none of {len(targets)}; "
            "lower ensemble.min_confidence"
        )
    classes = targets.argmax(axis=1)
    totals = np.bincount(classes, weights, minlength=targets.shape[1])
    return targets.astype(np.float32), weights / np.maximum(totals, 1e-12)[classes]


def few_labels(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the labels with all but `count` made unknown (-1).

    Classes are taken in turn, so that each gets about the same number of labels, as far as it has cells.

    Args:
        labels: int64[N], each 0 or above.
        count: number of labels that are kept, 1..N.
        seed: random seed of the choice.

    Raises:
        InputError: there are fewer labels.
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
