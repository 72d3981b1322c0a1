"""Which cells of a new hospital an expert should label first, chosen without labels."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import InputError

LEAST_WEIGHT: Final = 0.05
"""Weight of a cell of which the prediction is certain, where that of a uniform prediction is 1: no cell is excluded,
since members can be certain and wrong."""


def cells_to_label(
    predictions: NDArray[np.floating],
    features: NDArray[np.floating],
    subdomains: NDArray[np.integer],
    k: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Choose diverse cells of which the prediction is uncertain, from every subdomain and every predicted class.

    The cells are chosen one after the other. The next one is of the subdomain with the fewest chosen cells and, within
    it, of the predicted class with the fewest ones. Among these cells it is drawn as by k-means++ (Arthur &
    Vassilvitskii 2007): the chance of a cell is proportional to its squared distance from the nearest chosen cell in
    the feature space, times the entropy of its prediction (Zhdanov 2019, arXiv:1901.05954, weights k-means likewise).
    A draw, unlike the farthest point, is not always an artifact. The order is that of labeling: each
    beginning of it is a choice too.

    Args:
        predictions: class probabilities, float[N, C], rows sum to 1.
        features: float[N, D], in any unit.
        subdomains: int[N], the subdomain of each cell.
        k: number of cells, at least 1; all N if there are fewer.
        rng: of the draws.

    Returns:
        Rows without repetition, intp[min(k, N)], in the order of choice.

    Raises:
        InputError: no cells, k below 1, arrays of different lengths, or features that are not finite.
    """
    _check(predictions, features, subdomains, k)
    _, domains = np.unique(subdomains, return_inverse=True)
    classes = predictions.argmax(axis=1)
    weights = np.maximum(relative_entropy(predictions), LEAST_WEIGHT)
    points = features.astype(np.float64)
    distances = ((points - points.mean(axis=0)) ** 2).sum(axis=1)  # of the first cell: from the mean
    free = np.ones(len(points), dtype=bool)
    of_domain, of_class = np.zeros(domains.max() + 1, np.int64), np.zeros(predictions.shape[1], np.int64)
    chosen: list[int] = []
    for _ in range(min(k, len(points))):
        rows = np.flatnonzero(free)
        rows = _least(rows, of_domain[domains[rows]])
        rows = _least(rows, of_class[classes[rows]])
        row = _drawn(rows, weights[rows], distances[rows], rng)
        own = ((points - points[row]) ** 2).sum(axis=1)
        distances = np.minimum(distances, own) if chosen else own
        of_domain[domains[row]] += 1
        of_class[classes[row]] += 1
        free[row] = False
        chosen.append(row)
    return np.array(chosen, np.intp)


def relative_entropy(predictions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the entropy of each prediction, float64[N], 0 (certain) to 1 (uniform), of probabilities float[N, C]."""
    shares = np.clip(predictions.astype(np.float64), 0, 1)
    entropy = -(shares * np.log(np.maximum(shares, np.finfo(np.float64).tiny))).sum(axis=1)
    return np.asarray(np.clip(entropy / np.log(max(2, predictions.shape[1])), 0, 1))


def _least(rows: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.intp]:
    fewest: NDArray[np.intp] = rows[counts == counts.min()]
    return fewest


def _drawn(
    rows: NDArray[np.intp], weights: NDArray[np.float64], distances: NDArray[np.float64], rng: np.random.Generator
) -> int:
    """Return one of the rows; where all lie on chosen cells, the weights alone decide."""
    chances = weights * distances
    if not chances.sum() > 0:
        chances = weights
    return int(rng.choice(rows, p=chances / chances.sum()))


def _check(
    predictions: NDArray[np.floating], features: NDArray[np.floating], subdomains: NDArray[np.integer], k: int
) -> None:
    lengths = (len(predictions), len(features), len(subdomains))
    if len(set(lengths)) != 1 or not lengths[0]:
        raise InputError(f"expected predictions, features and subdomains of the same cells, got {lengths} rows")
    if k < 1:
        raise InputError(f"expected at least 1 cell to label, got {k}")
    if not (np.isfinite(features).all() and np.isfinite(predictions).all()):
        raise InputError("expected finite features and predictions, got NaN or infinity; look for damaged members")
