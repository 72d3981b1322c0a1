"""The picture of a refused cell: original, re-stained, and where more than color changed."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.guard.leftover import leftover
from hemabridge.imaging.standardizer import UInt8Image

FULL_HEAT: Final = 1.0
"""The residual, in units of the contrast, that is shown as white."""

_HEAT: Final = np.array([[0, 0, 0], [120, 0, 60], [225, 60, 20], [255, 190, 40], [255, 255, 255]], np.float64)


def draw_change(before: UInt8Image, after: UInt8Image) -> tuple[UInt8Image, UInt8Image, UInt8Image]:
    """Return original, re-stained and residual map of one cell, each uint8[H, W, 3] RGB.

    The map is black where a global color map explains everything, then dark red, orange, yellow, and white where
    as much is left as the contrast of the picture.

    Args:
        before: uint8[H, W, 3] RGB.
        after: the same cell re-stained, of the same size.
    """
    heat = _heated(leftover(before, after).residual)
    height, width = before.shape[:2]
    grown = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    return before.copy(), after.copy(), grown


def _heated(residual: NDArray[np.float64]) -> UInt8Image:
    place = np.clip(residual / FULL_HEAT, 0, 1) * (len(_HEAT) - 1)
    bands = [np.interp(place, np.arange(len(_HEAT)), _HEAT[:, band]) for band in range(3)]
    return np.rint(np.stack(bands, axis=2)).astype(np.uint8)
