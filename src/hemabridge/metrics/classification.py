"""Scores of classifiers: confusion counts, accuracy, recall, balanced accuracy. Labels are class indices."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion_counts(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Count the cells of each true class by their predicted class.

    Args:
        truth: int64[N], 0..num_classes-1.
        predicted: int64[N], 0..num_classes-1.
        num_classes: number of classes, including those that do not occur.

    Returns:
        int64[num_classes, num_classes]; rows are true classes, columns predicted ones.

    Raises:
        ValueError: the arrays differ in shape, are not one-dimensional, or contain a label out of range.
    """
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise ValueError(f"expected two label arrays of one length, got shapes {truth.shape} and {predicted.shape}")
    for name, labels in (("truth", truth), ("predicted", predicted)):
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise ValueError(f"expected {name} labels in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the fraction, 0..1, of the cells int64[N] that were classified correctly.

    Raises:
        ValueError: there is no cell, or the arrays differ in shape.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"expected two label arrays of one length, got shapes {truth.shape} and {predicted.shape}")
    if truth.size == 0:
        raise ValueError("expected at least one classified cell, got none")
    return float(np.mean(truth == predicted))


def recall_per_class(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float | None]:
    """Return the fraction of cells of each class that were classified correctly.

    Args:
        truth: int64[N], indices into `classes`.
        predicted: int64[N], indices into `classes`.
        classes: names, in the order of the indices.

    Returns:
        For each class by name: 0..1, or None for a class without cells.

    Raises:
        ValueError: as `confusion_counts`.
    """
    counts = confusion_counts(truth, predicted, len(classes))
    totals = counts.sum(axis=1)
    return {
        name: float(counts[index, index] / totals[index]) if totals[index] else None
        for index, name in enumerate(classes)
    }


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> float:
    """Return the mean recall, 0..1, over the classes that occur in `truth`.

    Args:
        truth: int64[N], 0..num_classes-1.
        predicted: int64[N], 0..num_classes-1.
        num_classes: number of classes.

    Raises:
        ValueError: there is no cell, or as `confusion_counts`.

    References:
        Brodersen et al. (2010), The balanced accuracy and its posterior distribution, doi:10.1109/ICPR.2010.764.
    """
    counts = confusion_counts(truth, predicted, num_classes)
    totals = counts.sum(axis=1)
    occurs = totals > 0
    if not occurs.any():
        raise ValueError("expected at least one classified cell, got none")
    return float(np.mean(np.diag(counts)[occurs] / totals[occurs]))
