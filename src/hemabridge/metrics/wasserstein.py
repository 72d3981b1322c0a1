"""Sliced Wasserstein distance of weighted sets of points, from counts, so that resampling is fast."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slices:
    """Directions through a box of points, each with evenly spaced nodes at which projected points are counted.

    The 1-Wasserstein distance of two sets on a line is the area between their distribution functions (Vallender 1974,
    doi:10.1137/1118101); its mean over directions is the sliced distance (Bonneel et al. 2015, eq. 8 with p = 1,
    doi:10.1007/s10851-014-0506-3). A point between two nodes is divided between them, so that means along every
    direction are exact. A distance is exact if all points are at nodes; otherwise its error is below `step`.

    Attributes:
        vectors: unit vectors, float64[P, D].
        low: position of the first node on each direction, float64[P].
        step: distance of two nodes on each direction, float64[P].
        nodes: number of nodes on each direction.
    """

    vectors: Floats
    low: Floats
    step: Floats
    nodes: int

    @classmethod
    def through(cls, low: ArrayLike, high: ArrayLike, count: int = 24, nodes: int = 64, seed: int = 0) -> Self:
        """Draw directions for points within the box from `low` to `high`, each [D]; one direction if D is 1.

        Raises:
            ValueError: `low` is not below `high`, or there are fewer than two nodes or no direction.
        """
        first, last = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if first.ndim != 1 or first.shape != last.shape or not (first < last).all() or nodes < 2 or count < 1:
            raise ValueError(f"expected low < high, nodes >= 2, count >= 1; got {first}, {last}, {nodes}, {count}")
        drawn = np.random.default_rng(seed).standard_normal((count, len(first)))
        vectors = np.ones((1, 1)) if len(first) == 1 else drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        corners = np.minimum(vectors * first, vectors * last), np.maximum(vectors * first, vectors * last)
        start, end = (corner.sum(axis=1) for corner in corners)
        return cls(vectors, start, (end - start) / (nodes - 1), nodes)

    def shares(self, points: Floats) -> Floats:
        """Return the share of points [N, D] at each node of each direction, float64[P, nodes]; each row sums to 1.

        Points outside of the box are counted at its border.

        Raises:
            ValueError: there is no point.
        """
        if len(points) == 0:
            raise ValueError("expected at least one point, got none")
        places = np.clip((points @ self.vectors.T - self.low) / self.step, 0, self.nodes - 1)
        below = np.minimum(places.astype(np.intp), self.nodes - 2)
        part = places - below
        rows = below + self.nodes * np.arange(len(self.vectors))
        size = len(self.vectors) * self.nodes
        counts = np.bincount(rows.ravel(), (1 - part).ravel(), size) + np.bincount(rows.ravel() + 1, part.ravel(), size)
        return counts.reshape(len(self.vectors), self.nodes) / len(points)

    def distance(self, one: Floats, other: Floats) -> Floats:
        """Return the sliced distance of shares [..., P, nodes] to shares of the same shape, float64[...]."""
        apart = np.abs(np.cumsum(one - other, axis=-1)[..., :-1]).sum(axis=-1)
        return np.asarray((apart * self.step).mean(axis=-1))
