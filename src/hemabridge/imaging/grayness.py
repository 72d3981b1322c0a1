"""Whether a picture shows color at all: a gray one among stained cells cannot be re-stained by a map of colors."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.imaging.standardizer import UInt8Image

MOST_GRAY_LEVELS = 20.0
"""Up to this color range, 0..255, a picture counts as gray.

Half of the least that stained cells show: 56 of 152 cells of Clinic, 39 of 182 fields of BCCD. Gray pictures reach 5
with the noise of a camera, pictures of which a tenth of the color is left up to 17 (simulated hospitals). No test set
took part.
"""

GRAY_REMARK = "the picture is gray, or nearly so: it shows no stain that could be mapped"

_SIDE_PX = 32
_LARGEST_CAST = 35.0
"""Channel difference up to which an even color is a cast; simulated nuclei that fill a picture exceed it."""

_SHARE_PERCENT = 98


def color_range(image: UInt8Image) -> float:
    """Return how far the channels of the more colorful parts lie apart, 0..255, noise averaged out.

    A slight cast that is the same everywhere (sepia, a white point that is off) counts as no color: the channels' own
    medians are taken off, and the smaller of both ranges counts. A picture that a stained nucleus fills stays colored.

    Args:
        image: RGB uint8[H, W, 3].
    """
    small = np.asarray(Image.fromarray(image).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX), np.float64)
    difference = small - small.mean(axis=2, keepdims=True)
    cast = np.median(difference, axis=(0, 1))
    if np.ptp(cast) > _LARGEST_CAST:
        return _range_of(difference)
    return min(_range_of(difference), 2 * _range_of(difference - cast))


def is_gray(image: UInt8Image) -> bool:
    """Tell whether an RGB image uint8[H, W, 3] shows no color that a stain could have made."""
    return color_range(image) <= MOST_GRAY_LEVELS


def _range_of(difference: NDArray[np.float64]) -> float:
    return float(np.percentile(np.ptp(difference, axis=2), _SHARE_PERCENT))
