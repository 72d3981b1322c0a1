"""sRGB values 0..255 in settings and results of normalizers, and the density that counts as stain."""

from typing import Annotated, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from pydantic import Field

from hemabridge.imaging.standardizer import UInt8Image

Level: TypeAlias = Annotated[float, Field(ge=0, le=255)]
"""One sRGB value."""

Rgb: TypeAlias = tuple[Level, Level, Level]
"""One sRGB color, 0..255."""

STAINED_OD: Final = 0.08
"""Decadic optical density below which, in every channel, a pixel counts as empty field with noise."""


def to_levels(values: NDArray[np.floating]) -> UInt8Image:
    """Round to uint8; values outside 0..255 are clipped."""
    levels: UInt8Image = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return levels


def curves_applied(image: UInt8Image, curves: UInt8Image) -> UInt8Image:
    """Return uint8[H, W, 3] with each channel looked up in its curve, uint8[256, 3]."""
    return np.asarray(with_curves(image, curves))


def with_curves(image: UInt8Image, curves: UInt8Image) -> Image.Image:
    """Return the same as `curves_applied`, as a picture of Pillow."""
    return Image.fromarray(np.ascontiguousarray(image)).point(curves.T.ravel().tolist())


def as_rgb(values: ArrayLike) -> Rgb:
    """Return three numbers as Python floats."""
    red, green, blue = (float(value) for value in np.asarray(values, np.float64))
    return red, green, blue
