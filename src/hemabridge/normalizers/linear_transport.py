"""Linear optimal transport: the Monge map between the Gaussians of two sites' colors."""

from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Rgb, as_rgb, with_curves
from hemabridge.normalizers.measures import site_glass, site_pixels, site_white, white_curves
from hemabridge.normalizers.normalizer import Measured, Normalizer

LARGEST_GAIN = 4.0
"""Largest factor by which a direction in color space is stretched, and inverse of the smallest one."""

NOISE_VARIANCE = 1.0
"""Added to the variance of every direction (levels squared); smaller variances are rounding errors."""

Entry: TypeAlias = Annotated[float, Field(ge=-4.001, le=4.001)]
Row: TypeAlias = tuple[Entry, Entry, Entry]


class LinearTransport(Normalizer):
    """Map all colors by the affine map that gives the target's mean and covariance with the least mean squared shift.

    Pitie and Kokaram (2007), CVMP, eq. 12-13, doi:10.1049/cp:20070055, on sRGB values 0..255.
    Each image first gets the target's white point.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
        matrix: symmetric, positive definite.
        source_mean: mean color of the source.
        target_mean: mean color of the target.
    """

    method: Literal["linear-ot"] = "linear-ot"
    target_white: Rgb
    matrix: tuple[Row, Row, Row]
    source_mean: Rgb
    target_mean: Rgb

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure mean and covariance of both sites' pixels."""
        check_sites(source, target)
        white = site_white(target)
        own, wanted = (site_pixels(images, white).astype(np.float64) for images in (source, target))
        red, green, blue = (as_rgb(row) for row in monge_matrix(_covariance(own), _covariance(wanted)))
        return cls(
            source_glass=site_glass(source),
            target_white=white,
            matrix=(red, green, blue),
            source_mean=as_rgb(own.mean(axis=0)),
            target_mean=as_rgb(wanted.mean(axis=0)),
        )

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with all colors moved by the map."""
        matrix = np.asarray(self.matrix)
        shift = np.asarray(self.target_mean) - np.asarray(self.source_mean) @ matrix
        white = with_curves(image, white_curves(measured.white, self.target_white))
        # Pillow adds one half and truncates.
        return np.asarray(white.convert("RGB", np.c_[matrix.T, shift].ravel().tolist()))

    def moved(self, colors: NDArray[np.generic]) -> NDArray[np.float64]:
        """Map colors [..., 3] (0..255, with the target's white point), without rounding and clipping."""
        centered = np.asarray(colors, np.float64) - np.asarray(self.source_mean)
        return np.asarray(centered @ np.asarray(self.matrix) + np.asarray(self.target_mean), np.float64)


def monge_matrix(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 for covariances A of the source and B of the target, [3, 3].

    Its eigenvalues, the gains, lie between 1 / `LARGEST_GAIN` and `LARGEST_GAIN`.
    """
    noise = NOISE_VARIANCE * np.eye(3)
    root = _power(source + noise, 0.5)
    inverse = _power(source + noise, -0.5)
    matrix = inverse @ _power(root @ (target + noise) @ root, 0.5) @ inverse
    gains, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    clamped = np.clip(gains, 1 / LARGEST_GAIN, LARGEST_GAIN)
    return np.asarray((axes * clamped) @ axes.T, np.float64)


def _covariance(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    centered = pixels - pixels.mean(axis=0)
    return np.asarray(centered.T @ centered / len(pixels), np.float64)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((axes * np.maximum(values, 1e-12) ** exponent) @ axes.T, np.float64)
