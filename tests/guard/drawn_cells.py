"""Cells that are drawn: their shapes are known."""

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.standardizer import UInt8Image

FIELD, CYTOPLASM, NUCLEUS, GRANULE = (250, 232, 200), (200, 170, 185), (75, 45, 125), (150, 60, 110)
SIDE = 96


def disc(row: float, column: float, radius: float, side: int = SIDE) -> NDArray[np.bool_]:
    rows, columns = np.indices((side, side))
    return np.hypot(rows - row, columns - column) <= radius


def cell(
    nucleus: float = 18, center: tuple[float, float] = (48, 48), spots: list[tuple[int, int]] | None = None
) -> UInt8Image:
    """Draw a round cell of radius 34 with a round nucleus, and granules of radius 1.5 px."""
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = FIELD
    image[disc(48, 48, 34)] = CYTOPLASM
    image[disc(*center, nucleus)] = NUCLEUS
    for row, column in spots or []:
        image[disc(row, column, 1.5)] = GRANULE
    return image


def lobed(count: int) -> UInt8Image:
    """Draw a cell whose nucleus has so many round lobes in a ring, joined by thin strands."""
    image = cell(nucleus=0)
    image[48, 48] = CYTOPLASM
    angles = 2 * np.pi * np.arange(count) / count
    for angle in angles:
        image[disc(48 + 20 * np.sin(angle), 48 + 20 * np.cos(angle), 9)] = NUCLEUS
        for step in np.linspace(0, 20, 60):
            image[disc(48 + step * np.sin(angle), 48 + step * np.cos(angle), 1.2)] = NUCLEUS
    return image


def curved(image: UInt8Image, power: float) -> UInt8Image:
    """Return the image under a rising tone curve."""
    return np.rint(255 * (image / 255.0) ** power).astype(np.uint8)
