"""The best global colour map between two pictures of one cell: what a change of stain, lamp or camera can explain.

A map that sends equal colours to equal colours cannot move, add or remove anything. What it leaves of a re-stained
cell is therefore no colour but structure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatColours = NDArray[np.float32]
"""Colours float32[P, 3], 0..255, one row per pixel."""

NODES = 17
"""Nodes of the grid of corrections along each of red, green and blue."""

PRIOR_PIXELS = 2.0
"""A correction counts as 0 with so many pixels beside those that ask for it."""

ROUNDS = 3
"""How often the grid corrects what it left."""


def mapped(colours: FloatColours, wanted: FloatColours) -> FloatColours:
    """Return where the best global colour map sends `colours`, float32[P, 3], 0..255.

    A quadratic map by least squares (Finlayson, Mackiewicz and Hurlbert 2015, doi:10.1109/TIP.2015.2405336, without
    the root), and what it leaves as a mean over each region of the colour cube (trilinear bins of 16 levels), which
    follows clipping and crooked tone curves.

    Args:
        colours: of each pixel before, float32[P, 3], 0..255.
        wanted: of the same pixels after, float32[P, 3], 0..255.
    """
    terms = _quadratic(colours)
    gram = terms.T @ terms + 1e-3 * np.eye(terms.shape[1])
    found = terms @ np.linalg.solve(gram, terms.T @ wanted.astype(np.float64))
    bins = _bins(colours)
    held = np.asarray(bins.sum(axis=0)).ravel()[:, None] + PRIOR_PIXELS
    for _ in range(ROUNDS):
        found = found + bins @ ((bins.T @ (wanted - found)) / held)
    return np.clip(found, 0, 255).astype(np.float32)


def _quadratic(colours: FloatColours) -> NDArray[np.float64]:
    red, green, blue = (colours.astype(np.float64) / 255.0).T
    one = np.ones_like(red)
    parts = (one, red, green, blue, red * red, green * green, blue * blue, red * green, green * blue, blue * red)
    return np.stack(parts, axis=1)


def _bins(colours: FloatColours) -> sparse.csr_matrix:
    """Return the trilinear weight of each pixel in each node, [P, NODES^3]; rows sum to 1."""
    place = colours / np.float32(256.0 / (NODES - 1))
    low = np.minimum(place.astype(np.int32), NODES - 2)
    share = place - low
    first = (low[:, 0] * NODES + low[:, 1]) * NODES + low[:, 2]
    corners, weights = [], []
    for red in (0, 1):
        for green in (0, 1):
            for blue in (0, 1):
                corners.append(first + (red * NODES + green) * NODES + blue)
                parts = (share[:, band] if up else 1 - share[:, band] for band, up in enumerate((red, green, blue)))
                a, b, c = parts
                weights.append(a * b * c)
    rows = np.arange(0, 8 * len(colours) + 1, 8)
    data, columns = np.stack(weights, axis=1).ravel(), np.stack(corners, axis=1).ravel()
    return sparse.csr_matrix((data, columns, rows), shape=(len(colours), NODES**3))
