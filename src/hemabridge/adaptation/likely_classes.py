"""What a site's cells are believed to be, for training on them: from agreeing classifiers, or from a few labels."""

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.errors import InputError


def likely_classes(probabilities: Probabilities, sure: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Turn agreeing answers into class shares and weights to train on (self-training; no label is used).

    Shares are sharpened and freed of the commonest class's pull: p^2 over the root of the class's sum, as deep embedded
    clustering does (Xie, Girshick & Farhadi 2016, Eq. 3, with the root). Cells whose largest probability is not above
    `sure` are never drawn; a class is drawn as often as the root of its number of sure cells.

    Args:
        probabilities: float32[N, C].
        sure: 0..1.

    Returns:
        float32[N, C] of rows that sum to 1, and float64[N].

    Raises:
        InputError: no cell is sure.
    """
    largest, labels = probabilities.max(axis=1), probabilities.argmax(axis=1)
    chosen = largest > sure
    if not chosen.any():
        raise InputError(f"expected cells that the classifiers are more than {sure} sure of, got none of {len(labels)}")
    sharpened = probabilities.astype(np.float64) ** 2 / np.sqrt(probabilities.sum(axis=0, dtype=np.float64) + 1e-12)
    shares = (sharpened / sharpened.sum(axis=1, keepdims=True)).astype(np.float32)
    counts = np.bincount(labels[chosen], minlength=probabilities.shape[1])
    return shares, np.where(chosen, 1.0 / np.sqrt(np.maximum(counts, 1))[labels], 0.0)


def known_classes(labels: NDArray[np.int64], classes: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Turn labels, int64[N] with -1 for unknown, into class shares and weights: classes are drawn equally often.

    Returns:
        float32[N, C] and float64[N]; cells without a label are never drawn.
    """
    known = labels >= 0
    counts = np.bincount(labels[known], minlength=classes)
    shares = np.full((len(labels), classes), 1.0 / classes, dtype=np.float32)
    shares[known] = np.eye(classes, dtype=np.float32)[labels[known]]
    weights = np.zeros(len(labels))
    weights[known] = 1.0 / counts[labels[known]]
    return shares, weights


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
