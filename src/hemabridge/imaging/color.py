"""Color spaces: sRGB, CIE Lab (D65), optical density, and the CIEDE2000 difference."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage import color

from hemabridge.imaging.standardizer import UInt8Image

FloatImage = NDArray[np.float32]


def rgb_to_lab(images: UInt8Image) -> FloatImage:
    """Convert sRGB uint8[..., 3] to CIE Lab float32[..., 3] under D65, 2 degree observer.

    L is 0..100, a and b about -128..127 (IEC 61966-2-1:1999; CIE 15:2004).
    """
    lab: FloatImage = color.rgb2lab(images.astype(np.float32) / 255).astype(np.float32)
    return lab


def lab_to_rgb(lab: NDArray[np.floating]) -> UInt8Image:
    """Convert CIE Lab [..., 3] (D65, L 0..100) to sRGB uint8[..., 3]; colors outside sRGB are clipped."""
    bounded = np.array(lab, np.float64)
    # Above this b, Z would be negative; scikit-image clips it to 0 as well, but with a warning.
    bounded[..., 2] = np.minimum(bounded[..., 2], 200 * (bounded[..., 0] + 16) / 116 - 1e-9)
    rgb = np.asarray(color.lab2rgb(bounded), np.float64)
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def optical_density(images: UInt8Image, white: ArrayLike = 255.0) -> FloatImage:
    """Return the optical density -log10(intensity / white) per channel, float32[..., 3].

    Beer-Lambert: OD is proportional to the amount of stain. Intensity 0 counts as 1, so that OD stays finite;
    pixels brighter than `white` have negative OD.

    Args:
        images: sRGB or camera values, uint8[..., 3].
        white: Intensity of the light without any stain, 0..255: one number, or one per channel.
    """
    od: FloatImage = np.log10(np.asarray(white, np.float32) / np.maximum(images, np.float32(1))).astype(np.float32)
    return od


def delta_e_2000(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the CIEDE2000 color difference of two Lab arrays [..., 3], float32[...], about 0..100.

    Sharma, Wu and Dalal (2005), Color Research & Application 30(1), eq. 2-22, doi:10.1002/col.20070.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    difference = color.deltaE_ciede2000(first, second)  # type: ignore[no-untyped-call]
    return np.asarray(difference, np.float32)
