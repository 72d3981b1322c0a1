"""The best global color map between two pictures of one cell: what a change of stain, lamp or camera can explain.

A map that sends equal colors to equal colors cannot move, add or remove anything. What it leaves of a re-stained
cell is therefore no color but structure.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatColors = NDArray[np.float32]
"""Colors float32[P, 3], 0..255, one row per pixel."""

NODES = 17
"""Nodes of the grid of corrections along each of red, green and blue."""

PRIOR_PIXELS = 2.0
"""A correction counts as 0 with so many pixels beside those that ask for it."""

ROUNDS = 3
"""How often the grid corrects what it left."""


def mapped(colors: FloatColors, wanted: FloatColors) -> FloatColors:
    """Return where the best global color map sends `colors`, float32[P, 3], 0..255.

    A quadratic map by least squares (Finlayson, Mackiewicz and Hurlbert 2015, doi:10.1109/TIP.2015.2405336, without
    the root), and what it leaves as a mean over each region of the color cube (bins of 16 levels), which
    follows clipping and crooked tone curves.

    Args:
        colors: of each pixel before, float32[P, 3], 0..255.
        wanted: of the same pixels after, float32[P, 3], 0..255.
    """
    terms = _quadratic(colors)
    gram = terms.T @ terms + 1e-3 * np.eye(terms.shape[1])
    found = (terms @ np.linalg.solve(gram, terms.T @ wanted.astype(np.float64))).astype(np.float32)
    bins = _bins(colors)
    gathered = bins.T.tocsr()
    held = np.asarray(gathered.sum(axis=1), np.float32) + np.float32(PRIOR_PIXELS)
    for _ in range(ROUNDS):
        found = found + bins @ ((gathered @ (wanted - found)) / held)
    return np.clip(found, 0, 255)


def _quadratic(colors: FloatColors) -> NDArray[np.float64]:
    # In single precision the colors of one cell, which lie near one line, would make these terms dependent.
    red, green, blue = (colors.astype(np.float64) / 255.0).T
    parts = (red, green, blue, red * red, green * green, blue * blue, red * green, green * blue, blue * red)
    return np.stack([np.ones_like(red), *parts], axis=1)


def _bins(colors: FloatColors) -> sparse.csr_matrix:
    """Return the weight of each pixel in the four nodes around its color, float32[P, nodes in use]; rows sum to 1.

    Tetrahedral interpolation (Kasson, Nin, Plouffe and Hafner 1995, doi:10.1117/12.208656): from the lowest node of
    the color's cube to the highest one, along the axis of the largest share first.
    """
    place = colors / np.float32(256.0 / (NODES - 1))
    low = np.minimum(place.astype(np.int32), NODES - 2)
    share = place - low
    order = np.argsort(-share, axis=1)
    sorted_share = np.take_along_axis(share, order, axis=1)
    steps = np.array([NODES * NODES, NODES, 1], np.int32)
    nodes = np.empty((len(colors), 4), np.int32)
    nodes[:, 0] = low @ steps
    nodes[:, 1:] = nodes[:, :1] + np.cumsum(steps[order], axis=1)
    weights = -np.diff(sorted_share, axis=1, prepend=np.float32(1), append=np.float32(0))
    used = np.zeros(NODES**3, bool)
    used[nodes] = True
    columns = (np.cumsum(used, dtype=np.int32) - 1)[nodes]
    rows = np.arange(0, nodes.size + 1, 4, dtype=np.int32)
    return sparse.csr_matrix((weights.ravel(), columns.ravel(), rows), shape=(len(colors), int(columns.max()) + 1))
