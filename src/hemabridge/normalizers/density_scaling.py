"""Optical-density scaling: the target's white point, then the target's amount of stain in each channel."""

from typing import Literal, Self

import numpy as np

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Rgb, as_rgb, curves_applied
from hemabridge.normalizers.measures import (
    from_density,
    levels_density,
    nearest_scale,
    site_density,
    site_glass,
    site_white,
)
from hemabridge.normalizers.normalizer import Gain, Measured, Normalizer

LARGEST_GAIN = 4.0
"""Largest factor on a density, and inverse of the smallest one, so that noise in pale fields is not amplified."""


class DensityScaling(Normalizer):
    """Multiply the optical density of each channel by one factor per site.

    OD = -log10(I / I0) is proportional to the amount of stain (Beer-Lambert). I0 is the image's own empty field. The
    factor is that of `measures.nearest_scale` on all pixels of both sites.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
        scale: factor on the OD of red, green and blue.
    """

    method: Literal["optical-density"] = "optical-density"
    target_white: Rgb
    scale: tuple[Gain, Gain, Gain]

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure the densities of both sites."""
        check_sites(source, target)
        scale = nearest_scale(site_density(source), site_density(target), LARGEST_GAIN)
        return cls(source_glass=site_glass(source), target_white=site_white(target), scale=as_rgb(scale))

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with the target's empty field and the scaled densities."""
        scaled = levels_density(measured.white) * np.asarray(self.scale)
        return curves_applied(image, from_density(scaled, self.target_white))
