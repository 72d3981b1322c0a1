"""Light absorbed in a field: optical densities above the glass, the foreground, and the chromatin index.

The measures are relative to the field's own glass. The optical density of a dye adds up where the light passes through
more of it (Beer-Lambert), so a ratio of two densities does not depend on the thickness of the smear.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from hemabridge.imaging.standardizer import UInt8Image

FloatMap: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

BLUE_SHARE: Final = 0.5
"""The chromatin index is the optical density in green minus this share of that in blue."""

LEAST_LIGHT: Final = 1 / 255
"""Smallest transmitted share of the light; darker pixels have its optical density of 2.4."""

FOREGROUND_SHARE: Final = 0.7
"""Share of Otsu's lower threshold of the absorbed green light from which a pixel is foreground."""

LEAST_RANGE: Final = 0.1
"""Smallest range of the absorbed green light of a field with cells, as a share of the glass's light."""

_BINS: Final = 128
_PALE: Final = 0.7  # red cells are below this share of the densest spot, and hence most of a field without nuclei above


@dataclass(frozen=True, eq=False)
class Absorbed:
    """Optical densities of a picture above its glass: 0 on the glass, 1 where a tenth of the light passes.

    Attributes:
        green, blue: float32[H, W].
        red_light: the picture in red, uint8[H, W], and `of_red` the optical density of each level, float32[256].
        edge: optical density in green from which a pixel is no glass (`foreground_threshold`); None without contrast.
    """

    green: FloatMap
    blue: FloatMap
    red_light: NDArray[np.uint8]
    of_red: FloatMap
    edge: float | None

    @cached_property
    def planes(self) -> tuple[FloatMap, FloatMap, FloatMap]:
        """The optical densities in red, green and blue, float32[H, W] each."""
        return self.of_red.take(self.red_light), self.green, self.blue

    @cached_property
    def chromatin(self) -> FloatMap:
        """The chromatin index, float32[H, W], at least 0.

        Azure B, bound to chromatin, absorbs much green and little blue, while hemoglobin and eosin absorb blue as well.
        """
        return np.clip(self.green - BLUE_SHARE * self.blue, 0, None)

    @cached_property
    def foreground(self) -> Mask:
        """All but the glass, bool[H, W]; nothing without contrast."""
        return np.asarray(self.green > (np.inf if self.edge is None else self.edge))


def absorbed_light(image: UInt8Image, glass: FloatMap) -> Absorbed:
    """Return the optical densities of a picture.

    Args:
        image: RGB uint8[H, W, 3].
        glass: color of the glass, float32[3], 0..255 (`imaging.compartments.background_color`).
    """
    light = np.arange(256, dtype=np.float32)[:, None] / np.maximum(glass, 1)
    of_red, of_green, of_blue = -np.log10(np.clip(light, LEAST_LIGHT, 1)).astype(np.float32).T
    counts = np.bincount(image[..., 1].ravel(), minlength=256)
    edge = foreground_threshold(of_green[counts > 0], counts[counts > 0])
    return Absorbed(of_green.take(image[..., 1]), of_blue.take(image[..., 2]), image[..., 0], of_red, edge)


def foreground_threshold(levels: FloatMap, counts: NDArray[np.int64]) -> float | None:
    """Return the optical density in green from which a pixel is no glass; None for a field without contrast.

    It is a share of the lower of two thresholds between three classes of the absorbed light (Otsu 1979, IEEE Trans. SMC
    9(1), doi:10.1109/TSMC.1979.4310076), which are about glass, red cells and nuclei.

    Args:
        levels: the optical densities in green that occur, float32[L].
        counts: number of pixels with each of them, int64[L], at least 1.
    """
    lost = 1 - np.power(np.float32(10), -levels)
    if np.ptp(lost) < LEAST_RANGE:
        return None
    pixels, edges = np.histogram(lost, _BINS, weights=counts)
    if np.count_nonzero(pixels) < 3:
        return None
    shares = pixels / pixels.sum(), (edges[:-1] + edges[1:]) / 2.0
    low = FOREGROUND_SHARE * float(threshold_multiotsu(classes=3, hist=shares)[0])  # type: ignore[no-untyped-call]
    return float(-np.log10(1 - low))


def resized(image: UInt8Image, factor: float) -> UInt8Image:
    """Return the image with both sides multiplied by `factor`: by averages to a smaller, bicubic to a larger size."""
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if size == (width, height):
        return image
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, method))


CONTRAST: Final = 2.05
"""Smallest chromatin index of the densest spot of a field with a nucleus, in multiples of that of its red cells."""

LEAST_CHROMATIN: Final = 0.1
"""Smallest chromatin index of the densest spot above that of the red cells; a nucleus of any stain has 0.2 to 1."""

NUCLEAR_SHARE: Final = 0.45
"""Where a nucleus ends, on the way from the chromatin index of the red cells, 0, to that of the densest spot, 1."""


@dataclass(frozen=True)
class Chromatin:
    """Chromatin indices of a field.

    Attributes:
        red: median of the red cells.
        densest: mean of the densest spot as large as a small nucleus.
        threshold: from which a pixel is chromatin.
        red_blue: optical density in blue of the red cells, as a share of that in green; infinite without red cells, or
            if they absorb no blue.
    """

    red: float
    densest: float
    threshold: float
    red_blue: float


def chromatin_of(picture: Absorbed, spot_px: int) -> Chromatin | None:
    """Return the levels of the chromatin index in a field; None if no spot differs enough from the red cells.

    They do not depend on how much of the field is covered by nuclei, as a threshold between classes of pixels would.

    Args:
        picture: of the field.
        spot_px: side in pixels of a spot that is smaller than a nucleus.
    """
    found = _contrasting(picture, spot_px)
    if found is None:
        return None
    is_pale, red, densest = found
    green, blue = (np.median(plane[is_pale]) if is_pale.any() else 0.0 for plane in (picture.green, picture.blue))
    red_blue = float(blue / green) if min(green, blue) > 0 else float("inf")
    return Chromatin(red, densest, _threshold(red, densest), red_blue)


def nuclear_threshold(picture: Absorbed, spot_px: int) -> float | None:
    """Return the threshold of `chromatin_of`."""
    found = _contrasting(picture, spot_px)
    return None if found is None else _threshold(*found[1:])


def _threshold(red: float, densest: float) -> float:
    return red + NUCLEAR_SHARE * (densest - red)


def _contrasting(picture: Absorbed, spot_px: int) -> tuple[Mask, float, float] | None:
    """Return where red cells are, their chromatin index and that of the densest spot; None without contrast."""
    chromatin = picture.chromatin
    if not picture.foreground.any():
        return None
    densest = float(ndimage.uniform_filter(chromatin, max(1, spot_px)).max())
    is_pale = picture.foreground & (chromatin < _PALE * densest)
    red = float(np.median(chromatin[is_pale])) if is_pale.any() else 0.0
    if densest < CONTRAST * red or densest - red < LEAST_CHROMATIN:
        return None
    return is_pale, red, densest


def dye_colors(picture: Absorbed, levels: Chromatin | None) -> FloatMap:
    """Return the median optical densities of the red cells and of chromatin, float32[2, 3]; 0 where there is none.

    Args:
        picture: of the field.
        levels: its chromatin (`chromatin_of`); None in a field without a nucleus.
    """
    if levels is None:
        return np.stack([_median_color(picture, picture.foreground), np.zeros(3, np.float32)])
    is_pale = picture.foreground & (picture.chromatin < _PALE * levels.densest)
    is_nuclear = picture.chromatin > levels.threshold
    return np.stack([_median_color(picture, is_pale), _median_color(picture, is_nuclear)])


def _median_color(picture: Absorbed, mask: Mask) -> FloatMap:
    return np.array([np.median(plane[mask]) if mask.any() else 0.0 for plane in picture.planes], np.float32)
