"""A field as it is read from a file: its pixels, whole or part by part, and its scale where the file states one."""

from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from hemabridge.errors import ImageError
from hemabridge.imaging.decoding import DEPTHS
from hemabridge.imaging.standardizer import UInt8Image

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a part of an image, with step 1."""

WANTED_UM: Final = 0.13
"""Largest width in micrometers of a pixel of the level that is read from a pyramid: that of a 60x objective."""

PLAUSIBLE_UM: Final = (0.01, 5.0)
"""Smallest and largest width of a pixel in micrometers that is taken from a file; 72 dpi of a camera are 353."""

LARGE_PIXELS: Final = 16_000_000
"""Number of pixels from which a file is read part by part, if its format allows it."""


class FieldPixels(Protocol):
    """RGB pixels of which parts can be read: an array uint8[H, W, 3], or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, and 3."""
        ...

    def __getitem__(self, window: Window, /) -> UInt8Image:
        """Return the part as uint8[h, w, 3]."""
        ...


@dataclass(frozen=True)
class FieldImage:
    """A field.

    Attributes:
        pixels: RGB.
        um_per_px: micrometers per pixel that the file states; None if it states none.
    """

    pixels: FieldPixels
    um_per_px: float | None = None


def plausible_um(um_per_px: float | None) -> float | None:
    """Return micrometers per pixel if a microscope can have them, else None."""
    low, high = PLAUSIBLE_UM
    return um_per_px if um_per_px is not None and low <= um_per_px <= high else None


def bounds(window: Window, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a window, limited to the image.

    Raises:
        ImageError: the window is empty.
    """
    (top, bottom, _), (left, right, _) = (part.indices(side) for part, side in zip(window, shape[:2], strict=True))
    if bottom <= top or right <= left:
        raise ImageError(f"expected a part of an image of {shape[1]} x {shape[0]} pixels, got an empty one")
    return top, left, bottom, right


def white_of(largest: int, bits: int) -> int:
    """Return the largest value of samples that are stored in `bits`: of the smallest usual depth that holds them."""
    if bits == 8:
        return 255
    return next((2**depth - 1 for depth in DEPTHS if 0 < largest < 2**depth), 2**bits - 1)


def level_for(um_per_px: float | None, downsamples: list[float]) -> int:
    """Return the coarsest level of a pyramid with pixels of at most `WANTED_UM`; the finest if the scale is unknown.

    Args:
        um_per_px: of the finest level.
        downsamples: width of the finest level divided by that of each level, ascending, the first one 1.
    """
    if um_per_px is None:
        return 0
    return max((place for place, own in enumerate(downsamples) if own * um_per_px <= WANTED_UM), default=0)
