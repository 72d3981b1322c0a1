"""The protocol of everything that re-stains images, and row-by-row work on large images."""

import math
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

UInt8Image: TypeAlias = NDArray[np.uint8]
"""One RGB image, uint8[H, W, 3], 0..255."""

UInt8Images: TypeAlias = NDArray[np.uint8]
"""A stack of RGB images of one size, uint8[N, H, W, 3], 0..255."""


@runtime_checkable
class Standardizer(Protocol):
    """Turns images of the source site into the stain and color of the target site.

    It is deterministic. The output has the shape and dtype of the input. The input is not changed.
    """

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Return uint8[N, H, W, 3] re-stained copies of uint8[N, H, W, 3] RGB images."""
        ...


MEASURED_PIXELS: Final = 4_000_000
"""Number of pixels, at equal distances, on which the statistics of a larger image are measured."""

TILE_PIXELS: Final = 400_000
"""Pixels that are processed at once; a color map in double precision then takes some tens of megabytes."""


def sparse(image: UInt8Image, most: int = MEASURED_PIXELS) -> UInt8Image:
    """Return uint8[H, W, 3], or every k-th row and column of it if it has more than `most` pixels; a view."""
    step = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / most))
    return image[::step, ::step] if step > 1 else image


def by_rows(image: UInt8Image, work: Callable[[UInt8Image], UInt8Image]) -> UInt8Image:
    """Return `work` applied to uint8[H, W, 3], a few rows at a time; `work` must treat each pixel independently."""
    rows = max(1, TILE_PIXELS // image.shape[1])
    if rows >= len(image):
        return work(image)
    out = np.empty_like(image)
    for start in range(0, len(image), rows):
        out[start : start + rows] = work(image[start : start + rows])
    return out
