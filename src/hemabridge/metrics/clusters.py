"""Kinds of cells, found without labels."""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 50


def clusters_of(points: NDArray[np.float64], count: int) -> list[NDArray[np.intp]]:
    """Part float64[N, D], N at least 1, into at most `count` clusters by k-means; the same ones each time.

    Lloyd (1982, doi:10.1109/TIT.1982.1056489), begun at points that are each the farthest from those before (Gonzalez
    1985, doi:10.1016/0304-3975(85)90224-5), the first the farthest from the mean. Returns the rows of each cluster.
    """
    centers = _spread_out(points, count)
    labels = np.zeros(len(points), np.intp)
    for _ in range(_ROUNDS):
        nearest = np.argmin(((points[:, None] - centers) ** 2).sum(axis=2), axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        kept = np.unique(labels)
        centers[kept] = [points[labels == label].mean(axis=0) for label in kept]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _spread_out(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    chosen = [points[np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1))]]
    apart = ((points - chosen[0]) ** 2).sum(axis=1)
    while len(chosen) < count and apart.max() > 0:
        chosen.append(points[np.argmax(apart)])
        apart = np.minimum(apart, ((points - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)
