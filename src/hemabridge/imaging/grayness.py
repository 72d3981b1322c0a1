"""Whether a picture shows color at all: a gray one among stained cells cannot be re-stained by a map of colors."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.errors import ImageError
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

_SURE_LEVELS = MOST_GRAY_LEVELS + _LARGEST_CAST
"""Channel difference beyond which no cast makes a color gray."""

_PART = 3
"""Of so many rows of blocks, one is looked at first."""


def color_range(image: UInt8Image) -> float:
    """Return how far the channels of the more colorful parts lie apart, 0..255, noise averaged out.

    A slight cast that is the same everywhere (sepia, a white point that is off) counts as no color: the channels' own
    medians are taken off, and the smaller of both ranges counts. A picture that a stained nucleus fills stays colored.

    Args:
        image: RGB uint8[H, W, 3].
    """
    small = Image.fromarray(image).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
    return _range_within(np.asarray(small, np.float64).reshape(-1, 3))


def _range_within(colors: NDArray[np.float64]) -> float:
    """Return the color range of averaged pixels, float64[N, 3]; 0 of fewer than two."""
    count = len(colors)
    if count < 2:
        return 0.0
    planes = np.ascontiguousarray(colors.T)
    difference = planes - planes.mean(axis=0)
    middle = sorted({(count - 1) // 2, count // 2})
    cast = np.partition(difference, middle, axis=1)[:, middle].mean(axis=1)
    if np.ptp(cast) > _LARGEST_CAST:
        return _range_of(difference)
    return min(_range_of(difference), 2 * _range_of(difference - cast[:, None]))


def is_gray(image: UInt8Image) -> bool:
    """Tell whether an RGB image uint8[H, W, 3] shows no color that a stain could have made."""
    if _is_colorful(image):
        return False
    return _range_within(_sampled(image)) <= 2 * MOST_GRAY_LEVELS and color_range(image) <= MOST_GRAY_LEVELS


def check_stained(image: UInt8Image) -> None:
    """Check that what uint8[H, W, 3] shows has the colors of a stain, which masks and gray pictures lack.

    Empty glass shows nothing, and passes.

    Raises:
        ImageError: it is gray (`is_gray`), and lighter and darker by more than `MOST_GRAY_LEVELS`.
    """
    if is_gray(image) and np.ptp(_sampled(image)[:, 1]) > MOST_GRAY_LEVELS:
        raise ImageError(f"expected a stained cell, but {GRAY_REMARK}; leave masks and gray pictures out")


def _is_colorful(image: UInt8Image) -> bool:
    """Tell whether a part of the samples shows enough color for `_range_within` of all of them to exceed its limit.

    A cast takes at most `_LARGEST_CAST` off the channel difference of a color, so that colors beyond `_SURE_LEVELS`
    stay beyond half of the limit. They only have to be more than the percentile leaves out.
    """
    part, count = _sums(image, _PART)
    red, green, blue = (part[..., channel] for channel in range(3))
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    left_out = count - int(_SHARE_PERCENT / 100 * (count - 1))
    return bool(np.count_nonzero(apart > 4 * _SURE_LEVELS) >= max(2, left_out))


def _sampled(image: UInt8Image) -> NDArray[np.float64]:
    """Return the mean of four pixels of each block, float64[N, 3]; in most images they show color, in little time."""
    return (_sums(image)[0] / 4).reshape(-1, 3)


def _sums(image: UInt8Image, step: int = 1) -> tuple[NDArray[np.uint16], int]:
    """Return the sum of four pixels of each block, uint16[R, C, 3], in every `step`-th row of blocks; and their number.

    The number is that of all blocks of the image.
    """
    rows, columns = (max(2, side // _SIDE_PX) for side in image.shape[:2])
    down, across = image.shape[0] // rows, image.shape[1] // columns
    whole = image[: down * rows, : across * columns]
    top, bottom = (whole[row :: rows * step] for row in (rows // 4, 3 * rows // 4))
    left, right = columns // 4, 3 * columns // 4
    found = top[:, left::columns].astype(np.uint16)
    for other in (top[:, right::columns], bottom[:, left::columns], bottom[:, right::columns]):
        found += other
    return found, down * across


def _range_of(difference: NDArray[np.float64]) -> float:
    """Return a high percentile of the channel difference of float64[3, P]."""
    red, green, blue = difference
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    place = _SHARE_PERCENT / 100 * (apart.size - 1)
    places = [int(place), int(place) + 1]
    low, high = np.partition(apart, places)[places]
    return float(low + (high - low) * (place % 1))
