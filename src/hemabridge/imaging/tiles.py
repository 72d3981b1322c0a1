"""Large images row by row, so that the memory that is needed does not grow with them."""

from collections.abc import Callable
from typing import Final

import numpy as np

from hemabridge.imaging.standardizer import UInt8Image

TILE_PIXELS: Final = 400_000
"""So many pixels are worked on at once: a map of color in double precision then takes some tens of megabytes."""


def by_rows(image: UInt8Image, work: Callable[[UInt8Image], UInt8Image]) -> UInt8Image:
    """Do what `work` does to uint8[H, W, 3], a few rows at a time; for work that sees each pixel for itself."""
    rows = max(1, TILE_PIXELS // image.shape[1])
    if rows >= len(image):
        return work(image)
    out = np.empty_like(image)
    for start in range(0, len(image), rows):
        out[start : start + rows] = work(image[start : start + rows])
    return out
