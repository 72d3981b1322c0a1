"""One cell before and after re-staining with color taken out of the comparison, and what is left then."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hemabridge.guard.color_map import mapped
from hemabridge.imaging.standardizer import UInt8Image

Map = NDArray[np.float64]
"""One number a pixel, float64[H, W]."""

WORK_PX: Final = 128
"""Longest side at which cells are compared; larger pictures are shrunk first."""

SMOOTH_SHARE: Final = 1 / 96
"""Standard deviation of the blur of what is left, as a share of the longer side: single pixels are noise."""

FAINTEST: Final = 12.0
"""A picture counts as having at least this contrast, in levels: nothing else than noise would be compared below."""

WORST_SHARE: Final = 0.005
"""The score is the mean over this share of the pixels, those with most left: a changed lobe or vacuole is small."""


@dataclass(frozen=True)
class Leftover:
    """What no global color map explains of one cell.

    Attributes:
        before: the input, uint8[h, w, 3] RGB, shrunk to at most `WORK_PX`.
        after: the output, likewise.
        forward: distance of the output from the input under the best global color map, in units of the output's
            contrast, float64[h, w].
        backward: the same from output to input, in units of the input's contrast. It shows what was lost: a picture
            without any structure is explained by a map that sends all colors to one.
    """

    before: UInt8Image
    after: UInt8Image
    forward: Map
    backward: Map

    @property
    def residual(self) -> Map:
        """What is left in either direction, the larger of both, float64[h, w]: 0 nothing, 1 as much as the contrast."""
        return np.maximum(self.forward, self.backward)

    @property
    def score(self) -> float:
        """Mean of the residual over its `WORST_SHARE`."""
        return max(_worst(self.forward), _worst(self.backward))


def leftover(before: UInt8Image, after: UInt8Image) -> Leftover:
    """Take the best global color map out of the difference of two pictures of one cell.

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
    return np.asarray(np.sqrt(np.sum(smooth.astype(np.float64) ** 2, axis=2)))


def _contrast(colors: NDArray[np.float32]) -> float:
    """Return the standard deviation of colors [P, 3] about their mean, in levels, at least `FAINTEST`."""
    return max(FAINTEST, float(np.sqrt(np.sum(np.var(colors, axis=0, dtype=np.float64)))))


def _worst(values: Map) -> float:
    count = max(1, round(WORST_SHARE * values.size))
    return float(np.mean(np.partition(values, -count, axis=None)[-count:]))
