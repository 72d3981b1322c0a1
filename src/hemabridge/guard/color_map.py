"""The best global color map between two pictures of one cell: the change that stain, lamp and camera can explain.

A global map sends equal colors to equal colors, so it cannot move, add or remove a structure. The residual of a
re-stained cell is therefore a change of structure, not of color.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatColors = NDArray[np.float32]
"""Colors float32[P, 3], 0..255, one row per pixel."""

NODES = 17
"""Nodes of the grid of corrections along each of red, green and blue."""

PRIOR_PIXELS = 2.0
"""Weight, in pixels, of the prior that a correction is 0."""

ROUNDS = 3
"""Number of passes in which the grid corrects its residual."""


def mapped(colors: FloatColors, wanted: FloatColors) -> FloatColors:
    """Return `colors` under the best global color map to `wanted`, float32[P, 3], 0..255.

    The map is quadratic, by least squares (Finlayson, Mackiewicz and Hurlbert 2015, doi:10.1109/TIP.2015.2405336,
    without the root), plus the mean of its residual over each region of the color cube (bins of 16 levels). The latter
    explains clipping and uneven tone curves.

    Args:
        colors: colors of the pixels before re-staining, float32[P, 3], 0..255.
        wanted: colors of the same pixels after it, float32[P, 3], 0..255.
    """
    terms = _quadratic(colors)
    gram = terms.T @ terms + 1e-3 * np.eye(terms.shape[1])
    found = (terms @ np.linalg.solve(gram, terms.T @ wanted.astype(np.float64))).astype(np.float32)
    bins = _bins(colors)
    gathered = bins.T
    held = gathered @ np.ones((len(colors), 1), np.float32) + np.float32(PRIOR_PIXELS)
    for _ in range(ROUNDS):
        found = found + bins @ ((gathered @ (wanted - found)) / held)
    return np.clip(found, 0, 255)


def _quadratic(colors: FloatColors) -> NDArray[np.float64]:
    # Double precision: the colors of one cell lie near a line, so the terms would be dependent in single precision.
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
    # Comparisons of whole columns are many times faster than sorting the three shares of each pixel.
    red, green, blue = np.ascontiguousarray((place - low).T)
    lower, higher = np.minimum(red, green), np.maximum(red, green)
    least, middle, most = np.minimum(lower, blue), np.maximum(lower, np.minimum(higher, blue)), np.maximum(higher, blue)
    steps = np.array([NODES * NODES, NODES, 1], np.int32)
    first = np.where((red >= green) & (red >= blue), steps[0], np.where(green >= blue, steps[1], steps[2]))
    last = np.where((blue <= red) & (blue <= green), steps[2], np.where(green <= red, steps[1], steps[0]))
    low_red, low_green, low_blue = np.ascontiguousarray(low.T)
    lowest = low_red * steps[0] + low_green * steps[1] + low_blue
    highest = lowest + steps.sum(dtype=np.int32)
    nodes = np.stack([lowest, lowest + first, highest - last, highest], axis=1)
    weights = np.stack([1 - most, most - middle, middle - least, least], axis=1)
    used = np.zeros(NODES**3, bool)
    used[nodes] = True
    columns = (np.cumsum(used, dtype=np.int32) - 1)[nodes]
    rows = np.arange(0, nodes.size + 1, 4, dtype=np.int32)
    return sparse.csr_matrix((weights.ravel(), columns.ravel(), rows), shape=(len(colors), int(columns.max()) + 1))
