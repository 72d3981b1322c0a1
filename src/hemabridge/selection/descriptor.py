"""Features of color and texture that need no network."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SCALES_PX = (0.0, 1.0, 2.0, 4.0)
"""Blur radii, for cells of 64 px; they grow with the image. Texture is the spread between two neighboring scales."""

REFERENCE_PX = 64


def describe(images: UInt8Images) -> NDArray[np.float64]:
    """Return 33 features of each image uint8[N, H, W, 3], float64[N, 33].

    Of L, a and b (CIELAB): mean, standard deviation and five quantiles; then, for each channel, the logarithm of the
    standard deviation of three bands of detail (differences of Gaussians), and their correlations with one another.
    """
    return np.array([_of_one(image) for image in images], np.float64).reshape(len(images), -1)


def _of_one(image: UInt8Image) -> NDArray[np.float64]:
    lab = rgb_to_lab(image).astype(np.float64)
    points = lab.reshape(-1, 3)
    color = [points.mean(axis=0), points.std(axis=0), *np.quantile(points, QUANTILES, axis=0)]
    scale = min(image.shape[:2]) / REFERENCE_PX
    blurred = [gaussian_filter(lab, (s * scale, s * scale, 0), mode="nearest") for s in SCALES_PX]
    bands = [(fine - coarse).reshape(-1, 3) for fine, coarse in pairwise(blurred)]
    texture = [np.log(band.std(axis=0) + 0.05) for band in bands]
    pairs = np.triu_indices(3, 1)
    spread = bands[1] + 0.0
    spread -= spread.mean(axis=0)
    norm = np.sqrt((spread**2).sum(axis=0)) + 1e-6
    between = ((spread.T @ spread) / np.outer(norm, norm))[pairs]
    return np.concatenate([*color, *texture, between])


def standardized(features: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features in standard deviations from the mean of the reference's; constant ones become 0."""
    spread = reference.std(axis=0)
    steady = spread > 1e-9 * np.maximum(1, np.abs(reference).max(axis=0))
    return np.where(steady, (features - reference.mean(axis=0)) / np.where(steady, spread, 1), 0.0)
