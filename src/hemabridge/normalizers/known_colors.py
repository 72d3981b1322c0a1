"""A map of colors that is the same for all images, computed once for each color that occurs."""

from collections.abc import Callable
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.normalizers.levels import curves_applied, with_curves

ColorMap: TypeAlias = Callable[[UInt8Image], UInt8Image]
"""A map of each pixel of uint8[H, W, 3] that depends on its color alone."""

PIXELS_WITHOUT: Final = 1_000_000
"""Number of pixels that are mapped before results are kept: a few cells are faster without a table of all colors."""

_COLORS: Final = 1 << 24
_OPAQUE: Final = np.uint32(0xFF000000)
"""The fourth byte of a known color; a color without it is not known yet."""


class KnownColors:
    """The results of one map of colors, for every color that occurred.

    The images of a site share most of their colors. A table of all 2^24 colors (64 MB, of which only the parts in use
    are filled) is faster than most formulas, and exact. Several threads may use it at once: at worst, two compute the
    same result.
    """

    def __init__(self) -> None:
        self._table: NDArray[np.uint32] | None = None
        self._mapped = 0

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Copy and pickle without the table."""
        return type(self), ()

    def mapped(self, image: UInt8Image, change: ColorMap, curves: UInt8Image | None = None) -> UInt8Image:
        """Return `change` of an image uint8[H, W, 3].

        Args:
            image: RGB uint8[H, W, 3].
            change: the map; always the same one for one object of this class.
            curves: uint8[256, 3], through which each channel goes before the map; these may differ between images.
        """
        self._mapped += image.shape[0] * image.shape[1]
        if self._mapped <= PIXELS_WITHOUT:
            return change(image if curves is None else curves_applied(image, curves))
        if self._table is None:
            self._table = np.zeros(_COLORS, np.uint32)
        colors = packed(image, curves)
        found: NDArray[np.uint32] = self._table.take(colors)
        if not found.all():
            places = np.flatnonzero(found.ravel() == 0)
            unknown = colors.ravel()[places]
            made = packed(change(unpacked(unknown[None]))) | _OPAQUE
            self._table[unknown] = found.ravel()[places] = made[0]
        return unpacked(found)


def packed(image: UInt8Image, curves: UInt8Image | None = None) -> NDArray[np.uint32]:
    """Return each color of uint8[H, W, 3] as one number, red + 256 green + 65536 blue: uint32[H, W].

    With `curves`, uint8[256, 3], the colors are those after each channel went through its curve.
    """
    picture = Image.fromarray(np.ascontiguousarray(image)) if curves is None else with_curves(image, curves)
    numbers = np.frombuffer(picture.tobytes("raw", "RGBX"), "<u4")
    return np.asarray(numbers & ~_OPAQUE, np.uint32).reshape(image.shape[:2])


def unpacked(colors: NDArray[np.uint32]) -> UInt8Image:
    """Return the image uint8[H, W, 3] of packed colors uint32[H, W]; their fourth byte is ignored."""
    return without_fourth(colors.astype("<u4", copy=False).view(np.uint8).reshape(*colors.shape, 4))


def distinct(colors: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """Return the different colors, ascending, and for each pixel of uint32[H, W] the place of its color among them.

    It is `numpy.unique` with its inverse, by one sort of the colors with their pixels behind them.
    """
    keys = colors.ravel().astype(np.uint64) << np.uint64(32) | np.arange(colors.size, dtype=np.uint64)
    keys.sort()
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    is_new = np.append(True, ordered[1:] != ordered[:-1])
    places = np.empty(colors.size, np.intp)
    places[keys.astype(np.uint32)] = np.cumsum(is_new) - 1
    return ordered[is_new], places.reshape(colors.shape)


def without_fourth(pixels: NDArray[np.uint8]) -> UInt8Image:
    """Return the first three of four channels, uint8[H, W, 3] of uint8[H, W, 4]: faster than a slice of it."""
    height, width = pixels.shape[:2]
    picture = Image.frombuffer("RGBX", (width, height), np.ascontiguousarray(pixels), "raw", "RGBX", 0, 1)
    return np.frombuffer(picture.tobytes("raw", "RGB"), np.uint8).reshape(height, width, 3)
