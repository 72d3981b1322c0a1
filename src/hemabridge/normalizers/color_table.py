"""Fitting and reading of a smooth color table, with trilinear interpolation between its nodes."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

NODES = 17
"""Nodes of the table along each of red, green and blue, from 0 to 255."""

SMOOTHNESS = 1e-3
"""Weight of the table's squared second differences, relative to the mean squared error of the fitted colors."""


def interpolation(colors: NDArray[np.generic], nodes: int = NODES) -> sparse.csr_matrix:
    """Return the trilinear weights of a table's nodes for colors [P, 3] (0..255), sparse [P, nodes^3]."""
    position = np.asarray(colors, np.float64) * ((nodes - 1) / 255)
    low = np.minimum(position.astype(np.intp), nodes - 2)
    part = position - low
    corners = np.indices((2, 2, 2)).reshape(3, 8).T
    weights = np.where(corners[None], part[:, None], 1 - part[:, None]).prod(axis=2)
    places = (low[:, None] + corners[None]) @ np.array([nodes**2, nodes, 1])
    rows = np.arange(0, 8 * len(position) + 1, 8)
    return sparse.csr_matrix((weights.ravel(), places.ravel(), rows), shape=(len(position), nodes**3))


def fit_table(colors: NDArray[np.float64], values: NDArray[np.float64], nodes: int = NODES) -> NDArray[np.float64]:
    """Return the nodes [nodes^3, 3] of the smooth table that best fits `values` [P, 3] at `colors` [P, 3]."""
    from scipy.sparse.linalg import splu  # slow to load, and needed for fits alone

    weights = interpolation(colors, nodes)
    normal = weights.T @ weights / len(colors) + SMOOTHNESS * _curvature(nodes) + 1e-9 * sparse.identity(nodes**3)
    solver = splu(normal.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
    return np.asarray(solver.solve(np.asarray(weights.T @ values) / len(colors)), np.float64)


@lru_cache(maxsize=2)
def _curvature(nodes: int) -> sparse.csr_matrix:
    """Sum of squared second differences along the three axes, as a matrix [nodes^3, nodes^3]."""
    second = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(nodes - 2, nodes))
    same = sparse.identity(nodes)
    along = [
        sparse.kron(sparse.kron(second, same), same),
        sparse.kron(sparse.kron(same, second), same),
        sparse.kron(sparse.kron(same, same), second),
    ]
    return sum(one.T @ one for one in along).tocsr()


def node_colors() -> NDArray[np.float64]:
    """Return the input colors of the nodes, float64[NODES^3, 3] in 0..255."""
    return np.asarray(np.indices((NODES, NODES, NODES)).reshape(3, -1).T * (255 / (NODES - 1)), np.float64)
