"""Color spaces: sRGB, CIE Lab (D65), optical density, and the CIEDE2000 difference."""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemabridge.imaging.standardizer import UInt8Image

FloatImage = NDArray[np.float32]
Floating = TypeVar("Floating", bound=np.floating)

_XYZ_OF_RGB: Final = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
"""XYZ of the three primaries' light, by column (IEC 61966-2-1:1999, amendment 1)."""

_WHITE_XYZ: Final = np.array([0.95047, 1.0, 1.08883])
"""XYZ of D65, 2 degree observer."""

_TO_XYZ: Final = (_XYZ_OF_RGB / _WHITE_XYZ[:, None]).T.astype(np.float32)
"""From light of the primaries to XYZ relative to white; rows are vectors."""

_FROM_XYZ: Final = (np.linalg.inv(_XYZ_OF_RGB) * _WHITE_XYZ).T.astype(np.float32)
_TO_LAB: Final = np.array([[0, 500, 0], [116, -500, 200], [0, 0, -200]], np.float32)
_FROM_LAB: Final = np.array([[1 / 116, 1 / 116, 1 / 116], [1 / 500, 0, 0], [0, 0, -1 / 200]], np.float32)

_LINEAR_BELOW: Final = 0.008856
"""Relative XYZ up to which Lab's curve is a line, `_SLOPE` x + `_OFFSET`; above it is the cube root (CIE 15:2004)."""

_SLOPE: Final = 7.787
_OFFSET: Final = 16 / 116
_CURVE_BELOW: Final = np.float32(0.2068966)
_DARK_LIGHT: Final = np.float32(0.0031308)
"""Light up to which sRGB's curve is a line."""

_LEVELS: Final = np.arange(256) / 255
_EXACT_LIGHT: Final = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92)
"""Light, 0..1, of each level of sRGB, float64[256] (IEC 61966-2-1:1999)."""

_LIGHT: Final = _EXACT_LIGHT.astype(np.float32)


def rgb_to_lab(images: UInt8Image) -> FloatImage:
    """Convert sRGB uint8[..., 3] to CIE Lab float32[..., 3] under D65, 2 degree observer.

    L is 0..100, a and b about -128..127 (IEC 61966-2-1:1999; CIE 15:2004). The constants are those of scikit-image's
    `rgb2lab`; the results are equal within 0.001, in a fraction of its time.
    """
    relative = np.take(_LIGHT, images).reshape(-1, 3) @ _TO_XYZ
    lab = _bent(relative) @ _TO_LAB
    lab[:, 0] -= 16
    return np.asarray(lab.reshape(images.shape), np.float32)


def lightness(image: UInt8Image) -> NDArray[np.float64]:
    """Return CIE Lab's L (D65, 0..100) of sRGB uint8[H, W, 3], in double precision: float64[H, W]."""
    red, green, blue = (_EXACT_LIGHT[image[..., band]] for band in range(3))
    of_red, of_green, of_blue = _XYZ_OF_RGB[1]
    light = of_red * red + of_green * green + of_blue * blue
    return np.asarray(116 * _bent(light) - 16)


def _bent(relative: NDArray[Floating]) -> NDArray[Floating]:
    """Return Lab's curve of XYZ relative to white."""
    return np.where(relative > _LINEAR_BELOW, np.cbrt(relative), _SLOPE * relative + _OFFSET)


def lab_to_rgb(lab: NDArray[np.floating]) -> UInt8Image:
    """Convert CIE Lab [..., 3] (D65, L 0..100) to sRGB uint8[..., 3]; colors outside sRGB are clipped."""
    curve = np.asarray(lab, np.float32).reshape(-1, 3) @ _FROM_LAB + _OFFSET
    np.maximum(curve[:, 2], 0, out=curve[:, 2])  # Z is not negative
    relative = np.where(curve > _CURVE_BELOW, curve * curve * curve, (curve - _OFFSET) / _SLOPE)
    light = np.maximum(relative @ _FROM_XYZ, 0)
    values = np.where(
        light > _DARK_LIGHT, np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055), 12.92 * light
    )
    levels: UInt8Image = np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)
    return levels.reshape(np.shape(lab))


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
    from skimage import color  # slow to load, and needed for comparisons alone

    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    difference = color.deltaE_ciede2000(first, second)  # type: ignore[no-untyped-call]
    return np.asarray(difference, np.float32)
