"""The residual of a re-stained cell: its difference from the original that no global color map explains."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hemabridge.guard.color_map import mapped
from hemabridge.imaging.standardizer import UInt8Image

Map = NDArray[np.float64]
"""One number per pixel, float64[H, W]."""

WORK_PX: Final = 128
"""Longest side at which cells are compared, in pixels; larger pictures are resized."""

SMOOTH_SHARE: Final = 1 / 96
"""Standard deviation of the blur of the residual, as a share of the longer side; it removes the noise of pixels."""

FAINTEST: Final = 12.0
"""Smallest contrast, in gray levels, so that the noise of a picture without contrast is not amplified."""

WORST_SHARE: Final = 0.005
"""Share of the pixels with the largest residual, whose mean is the score; a changed lobe or vacuole is small."""


FULL_HEAT: Final = 1.0
"""The residual, in units of the contrast, that is shown as white."""

_HEAT: Final = np.array([[0, 0, 0], [120, 0, 60], [225, 60, 20], [255, 190, 40], [255, 255, 255]], np.float64)


@dataclass(frozen=True)
class Leftover:
    """The change of one cell that no global color map explains.

    Attributes:
        before: the original, uint8[h, w, 3] RGB, resized to at most `WORK_PX`.
        after: the re-stained cell, of the same size.
        forward: distance of the re-stained cell from the original under the best global color map, in units of the
            re-stained cell's contrast, float64[h, w].
        backward: the same in the other direction, in units of the original's contrast. It finds lost structure: a
            picture without structure is explained by a map that sends all colors to one.
    """

    before: UInt8Image
    after: UInt8Image
    forward: Map
    backward: Map

    @property
    def residual(self) -> Map:
        """The larger of both distances, float64[h, w]; 0: only color changed, 1: a change as large as the contrast."""
        return np.maximum(self.forward, self.backward)

    @property
    def score(self) -> float:
        """Mean over the `WORST_SHARE` of the pixels, the larger of both directions."""
        return max(_worst(self.forward), _worst(self.backward))


def leftover(before: UInt8Image, after: UInt8Image) -> Leftover:
    """Return the difference of two pictures of one cell without that of the best global color map.

    Args:
        before: uint8[H, W, 3] RGB.
        after: the re-stained picture, of the same size.
    """
    small = _shrunk(before), _shrunk(after)
    shape = small[0].shape
    own, other = (image.reshape(-1, 3).astype(np.float32) for image in small)
    expected, returned = mapped(own, other).reshape(shape), mapped(other, own).reshape(shape)
    return Leftover(
        before=small[0],
        after=small[1],
        forward=_distance(small[1] - expected) / _contrast(other),
        backward=_distance(small[0] - returned) / _contrast(own),
    )


def _shrunk(image: UInt8Image) -> UInt8Image:
    height, width = image.shape[:2]
    factor = max(height, width) / WORK_PX
    if factor <= 1:
        return image
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BOX))


def _distance(difference: NDArray[np.float32]) -> Map:
    sigma = SMOOTH_SHARE * max(difference.shape[:2])
    smooth = ndimage.gaussian_filter(difference, (sigma, sigma, 0), mode="nearest", truncate=3)
    squares = smooth.astype(np.float64) ** 2
    return np.asarray(np.sqrt(squares[..., 0] + squares[..., 1] + squares[..., 2]))


def _contrast(colors: NDArray[np.float32]) -> float:
    """Return the standard deviation of colors [P, 3] about their mean, in levels, at least `FAINTEST`."""
    # Sums of whole numbers in double precision are exact, so that nothing is lost by taking the square of the mean off.
    levels = colors.astype(np.float64)
    mean = np.ones(len(levels)) @ levels / len(levels)
    variance = float(np.vdot(levels, levels)) / len(levels) - float(mean @ mean)
    return max(FAINTEST, float(np.sqrt(max(variance, 0.0))))


def _worst(values: Map) -> float:
    count = max(1, round(WORST_SHARE * values.size))
    return float(np.mean(np.partition(values, -count, axis=None)[-count:]))


def draw_change(before: UInt8Image, after: UInt8Image) -> tuple[UInt8Image, UInt8Image, UInt8Image]:
    """Return the original, the re-stained cell and a picture of the residual, each uint8[H, W, 3] RGB.

    The residual is black where a global color map explains the change, then dark red, orange and yellow, and white
    where it is as large as the contrast of the picture.

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
