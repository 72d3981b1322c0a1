"""Light absorbed in a field: optical densities above the glass, the foreground, and the chromatin index.

The measures are relative to the field's own glass. The optical density of a dye adds up where the light passes through
more of it (Beer-Lambert), so a ratio of two densities does not depend on the thickness of the smear.
"""

from dataclasses import dataclass
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


def optical_density(image: UInt8Image, glass: FloatMap) -> FloatMap:
    """Return the optical density above the glass, float32[H, W, 3]: 0 on the glass, 1 where a tenth of it passes.

    Args:
        image: RGB uint8[H, W, 3].
        glass: color of the glass, float32[3], 0..255 (`imaging.compartments.background_color`).
    """
    light = np.arange(256, dtype=np.float32)[:, None] / np.maximum(glass, 1)
    table = -np.log10(np.clip(light, LEAST_LIGHT, 1)).astype(np.float32)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def chromatin_index(density: FloatMap) -> FloatMap:
    """Return the chromatin index of optical densities float32[H, W, 3]: float32[H, W], at least 0.

    Azure B, bound to chromatin, absorbs much green and little blue, while hemoglobin and eosin absorb blue as well.
    """
    return np.clip(density[..., 1] - BLUE_SHARE * density[..., 2], 0, None)


def foreground_threshold(density: FloatMap) -> float | None:
    """Return the optical density in green from which a pixel is no glass; None for a field without contrast.

    It is a share of the lower of two thresholds between three classes of the absorbed light (Otsu 1979, IEEE Trans. SMC
    9(1), doi:10.1109/TSMC.1979.4310076), which are about glass, red cells and nuclei.
    """
    lost = 1 - np.power(np.float32(10), -density[..., 1])
    if np.ptp(lost) < LEAST_RANGE or np.count_nonzero(np.histogram(lost, _BINS)[0]) < 3:
        return None
    low = FOREGROUND_SHARE * float(threshold_multiotsu(lost, 3, nbins=_BINS)[0])  # type: ignore[no-untyped-call]
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
        red_blue: optical density in blue of the red cells, as a share of that in green; infinite without red cells.
    """

    red: float
    densest: float
    threshold: float
    red_blue: float


def chromatin_of(density: FloatMap, spot_px: int) -> Chromatin | None:
    """Return the levels of the chromatin index in a field; None if no spot differs enough from the red cells.

    They do not depend on how much of the field is covered by nuclei, as a threshold between classes of pixels would.

    Args:
        density: optical densities float32[H, W, 3].
        spot_px: side in pixels of a spot that is smaller than a nucleus.
    """
    edge = foreground_threshold(density)
    if edge is None:
        return None
    chromatin = chromatin_index(density)
    if not (density[..., 1] > edge).any():
        return None
    densest = float(ndimage.uniform_filter(chromatin, max(1, spot_px)).max())
    is_pale = (density[..., 1] > edge) & (chromatin < _PALE * densest)
    has_red_cells = bool(is_pale.any())
    red = float(np.median(chromatin[is_pale])) if has_red_cells else 0.0
    if densest < CONTRAST * red or densest - red < LEAST_CHROMATIN:
        return None
    green, blue = (np.median(density[is_pale, channel]) if has_red_cells else 0.0 for channel in (1, 2))
    red_blue = float(blue / green) if green > 0 else float("inf")
    return Chromatin(red, densest, red + NUCLEAR_SHARE * (densest - red), red_blue)


def nuclear_threshold(density: FloatMap, spot_px: int) -> float | None:
    """Return the threshold of `chromatin_of`."""
    found = chromatin_of(density, spot_px)
    return None if found is None else found.threshold
