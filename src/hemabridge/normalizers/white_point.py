"""White point: the empty field gets the target's color."""

from typing import Literal, Self

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Rgb
from hemabridge.normalizers.measures import site_glass, site_white, whitened
from hemabridge.normalizers.normalizer import Measured, Normalizer


class WhitePoint(Normalizer):
    """Multiply each channel so that the image's empty field gets the target's color.

    The gains act on sRGB values, not on linear light. For a power-law tone curve the two are equivalent (a gain g of
    light is a gain g^(1/gamma) of the value). On sRGB values, the linear part of the curve does not amplify dark
    pixels. This is the rule of von Kries (1902) with the empty field as white.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
    """

    method: Literal["white-point"] = "white-point"
    target_white: Rgb

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure the empty field of both sites."""
        check_sites(source, target)
        return cls(source_glass=site_glass(source), target_white=site_white(target))

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with the target's white point."""
        return whitened(image, measured.white, self.target_white)
