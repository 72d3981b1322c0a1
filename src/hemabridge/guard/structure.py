"""Changes of structure between two pictures of one cell: similarity at equal tones, and displacement of edges."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.imaging.color import lightness
from hemabridge.imaging.standardizer import UInt8Image

Map = NDArray[np.float64]

TONES: Final = 256
SSIM_SIGMA_PX: Final = 1.5
SSIM_C1: Final = (0.01 * 100.0) ** 2
SSIM_C2: Final = (0.03 * 100.0) ** 2

EDGE_SIGMA_PX: Final = 1.0
CLEAR_EDGE: Final = 0.4
"""Strength of a clear edge, as a share of the 99th percentile; clear edges are searched in the other picture."""

ANY_EDGE: Final = 0.12
"""Strength of an edge of the other picture that counts as the same edge, as a share of the 99th percentile."""

MOVED_SHARE: Final = 0.05
"""Share of the edges with the largest displacement, of which the smallest one is taken."""


def structure_ssim(before: UInt8Image, after: UInt8Image) -> float:
    """Return the structural similarity of the luminance, -1..1; any monotone change of tones gives 1.

    The lightness of one picture is mapped to that of the other by the best increasing tone curve (isotonic regression,
    Barlow et al. 1972). The two are then compared by SSIM (Wang et al. 2004, eq. 13, doi:10.1109/TIP.2003.819861;
    window of 1.5 px, range 100). The mean is weighted by the local variances, so that empty glass does not count. The
    lower value of both directions is returned, since one direction alone does not find lost structure.

    Args:
        before: uint8[H, W, 3] RGB.
        after: the same cell re-stained, of the same size.
    """
    own, other = lightness(before), lightness(after)
    return min(_weighted_ssim(_at_tones_of(other, own), other), _weighted_ssim(_at_tones_of(own, other), own))


def ssim_map(first: Map, second: Map) -> tuple[Map, Map]:
    """Return the SSIM of two luminance pictures (0..100) at each pixel, and the sum of their local variances."""
    stack = np.stack([first, second, first * first, second * second, first * second])
    sigma = (0, SSIM_SIGMA_PX, SSIM_SIGMA_PX)
    mean_1, mean_2, square_1, square_2, product = ndimage.gaussian_filter(stack, sigma, truncate=3.5)
    variances = square_1 - mean_1**2 + square_2 - mean_2**2
    covariance = product - mean_1 * mean_2
    alike = (2 * mean_1 * mean_2 + SSIM_C1) * (2 * covariance + SSIM_C2)
    most = (mean_1**2 + mean_2**2 + SSIM_C1) * (variances + SSIM_C2)
    return alike / most, np.maximum(variances, 0)


def _weighted_ssim(first: Map, second: Map) -> float:
    values, variances = ssim_map(first, second)
    return float(np.average(values, weights=variances + SSIM_C2))


def _at_tones_of(wanted: Map, given: Map) -> Map:
    """Map `given` by the increasing curve that is closest to `wanted`, by least squares."""
    from scipy.optimize import isotonic_regression  # slow to load, and needed by the guard alone

    tones = np.clip((given * (TONES / 100.0)).astype(np.int64), 0, TONES - 1).ravel()
    counts = np.bincount(tones, minlength=TONES)
    used = np.flatnonzero(counts)
    means = np.bincount(tones, weights=wanted.ravel(), minlength=TONES)[used] / counts[used]
    places = np.bincount(tones, weights=given.ravel(), minlength=TONES)[used] / counts[used]
    curve = isotonic_regression(means, weights=counts[used].astype(np.float64)).x
    return np.asarray(np.interp(given, places, curve), np.float64)


def edge_displacement(before: UInt8Image, after: UInt8Image, changed: NDArray[np.bool_]) -> float:
    """Return the distance of clear edges from the nearest edge of the other picture, as a share of the longer side.

    Edges are the ridges of the luminance's gradient (Canny 1986, doi:10.1109/TPAMI.1986.4767851). The result is the
    95th percentile over clear edges, the larger one of both directions.

    Args:
        before: uint8[H, W, 3] RGB.
        after: the same cell re-stained, of the same size.
        changed: the pixels where more than color changed, bool[H, W]; elsewhere the displacement is 0.
    """
    if not changed.any():
        return 0.0
    (clear_1, any_1), (clear_2, any_2) = _edges(lightness(before)), _edges(lightness(after))
    moved = max(_distance(clear_1, any_2, changed), _distance(clear_2, any_1, changed))
    return moved / float(max(before.shape[:2]))


def _edges(light: Map) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return clear edges, and all edges, bool[H, W] each: ridges of the gradient, one pixel wide."""
    smooth = np.pad(ndimage.gaussian_filter(light, EDGE_SIGMA_PX, mode="nearest"), 1, mode="edge")
    down = (smooth[2:, 1:-1] - smooth[:-2, 1:-1]) / 2
    right = (smooth[1:-1, 2:] - smooth[1:-1, :-2]) / 2
    slope = np.hypot(down, right)
    padded = np.pad(slope, 1, mode="edge")
    beside = np.maximum(padded[1:-1, :-2], padded[1:-1, 2:])
    above = np.maximum(padded[:-2, 1:-1], padded[2:, 1:-1])
    crest = slope >= np.where(np.abs(right) > np.abs(down), beside, above)
    strongest = max(float(np.percentile(slope, 99)), 1.0)  # a gradient below 1 unit of L per pixel is not an edge
    return crest & (slope > CLEAR_EDGE * strongest), crest & (slope > ANY_EDGE * strongest)


def _distance(clear: NDArray[np.bool_], found: NDArray[np.bool_], changed: NDArray[np.bool_]) -> float:
    if not (clear & changed).any():
        return 0.0
    if not found.any():
        return float(max(clear.shape)) if (clear & changed).mean() > MOVED_SHARE * clear.mean() else 0.0
    away = np.where(changed, ndimage.distance_transform_edt(~found), 0)[clear]
    return float(np.quantile(away, 1 - MOVED_SHARE))
