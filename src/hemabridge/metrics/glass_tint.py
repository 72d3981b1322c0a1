"""The tint of empty glass: blotches of color that a re-staining draws where the original shows nothing."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.masks import eroded
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

SIDE_PX: Final = 32
"""About the longest side at which glass is compared; a pixel is the mean of a block, so that noise is no blotch."""

GLASS_LIGHT: Final = 0.92
"""Glass lets at least this share of the background's light through, in red, green and blue."""

FEWEST_PIXELS: Final = 20
"""Fewest pixels of glass, of about 32 x 32, that are compared; with fewer the tint is 0."""

BLOTCH_SHARE: Final = 0.05
"""Share of the glass that a blotch must cover."""

TINTED: Final = 10.0
"""Tint from which the glass of a cell counts as tinted.

`python benchmarks/glass_tint.py` prints what it comes from: held-out cells of one hospital, restyled as random
hospitals and re-stained back by the normalizers. In Lab 2.3 is about the smallest difference that is seen.
"""


def glass_tint(before: UInt8Image, after: UInt8Image) -> float:
    """Return the chroma of the blotches that a re-staining added to empty glass, in units of CIE Lab; 0 is none.

    The glass of a picture has one color, whatever it is, with small deviations from it. The measure is the increase of
    the deviation in a and b from the glass's median color, exceeded on `BLOTCH_SHARE` of the glass. A re-staining that
    gives all glass of a picture another color has no tint in this sense: the target's glass may have that color.

    Args:
        before: the original, uint8[H, W, 3] RGB.
        after: the re-stained picture, of the same size.
    """
    own, other = _shrunk(before, after)
    light = np.all(own >= GLASS_LIGHT * np.maximum(background_color(own), 1), axis=2)
    glass = eroded(np.asarray(light), 1)  # beside a cell, a pixel is a mixture
    count = np.count_nonzero(glass)
    if count < FEWEST_PIXELS:
        return 0.0
    chroma = rgb_to_lab(np.stack([own[glass], other[glass]]))[..., 1:]
    away = chroma - np.partition(chroma, count // 2, axis=1)[:, count // 2, None]  # from the median color
    rise = np.diff(np.hypot(away[..., 0], away[..., 1]), axis=0)[0]
    place = count - 1 - int(BLOTCH_SHARE * count)
    return max(0.0, float(np.partition(rise, place)[place]))


def glass_tints(before: UInt8Images, after: UInt8Images) -> NDArray[np.float64]:
    """Return the tint of the glass of each of two stacks of the same cells, uint8[N, H, W, 3] each: float64[N]."""
    pairs = zip(before, after, strict=True)
    return np.array([glass_tint(own, other) for own, other in pairs], np.float64)


def _shrunk(before: UInt8Image, after: UInt8Image) -> tuple[UInt8Image, UInt8Image]:
    """Return the means of blocks of both pictures; incomplete blocks at the right and at the bottom are left out."""
    height, width = before.shape[:2]
    factor = max(1, round(max(height, width) / SIDE_PX))
    rows, columns = max(1, height // factor), max(1, width // factor)
    inside = slice(rows * factor), slice(columns * factor)
    both = Image.fromarray(np.concatenate([before[inside], after[inside]])).reduce(factor)  # one call, for speed
    means = np.asarray(both)
    return means[:rows], means[rows:]
