"""Histogram matching: the values of each channel get the target's distribution."""

from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Level, Rgb, curves_applied, to_levels
from hemabridge.normalizers.measures import site_glass, site_pixels, site_white, white_curves
from hemabridge.normalizers.normalizer import Measured, Normalizer

Curve: TypeAlias = Annotated[tuple[Level, ...], Field(min_length=256, max_length=256)]
"""The new value of each of the 256 sRGB values."""


class HistogramMatching(Normalizer):
    """Map each channel by the target's inverse CDF after the source's CDF, over all pixels of both sites.

    Each image first gets the target's white point, so that empty fields of different colors do not widen the curves.

    Gonzalez and Woods, Digital Image Processing (4th ed., 2018), section 3.3: s = G^-1(F(r)), with G^-1 linear between
    the values that occur.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
        curves: for red, green and blue: the new value of each value 0..255.
    """

    method: Literal["histogram"] = "histogram"
    target_white: Rgb
    curves: tuple[Curve, Curve, Curve]

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure the histograms of both sites."""
        check_sites(source, target)
        white = site_white(target)
        own, wanted = site_pixels(source, white), site_pixels(target, white)
        red, green, blue = (matching_curve(_counts(own[:, c]), _counts(wanted[:, c])) for c in range(3))
        curves = (_plain(red), _plain(green), _plain(blue))
        return cls(source_glass=site_glass(source), target_white=white, curves=curves)

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with each channel mapped by its curve."""
        white = white_curves(measured.white, self.target_white)
        curves = to_levels(np.asarray(self.curves, np.float64).T)
        return curves_applied(image, np.take_along_axis(curves, white.astype(np.intp), axis=0))


def matching_curve(source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the new value of each value 0..255, float64[256], given the histograms of both sites, int64[256]."""
    present = np.flatnonzero(target)
    shares = np.cumsum(source) / source.sum(), np.cumsum(target)[present] / target.sum()
    return np.asarray(np.interp(*shares, present), np.float64)


def _counts(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(values, minlength=256)


def _plain(curve: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in curve)
