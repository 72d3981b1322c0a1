"""White point: the color of the empty field becomes the target's."""

from typing import Literal, Self

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.measures import site_white, whitened
from hemabridge.normalizers.normalizer import Normalizer, Rgb, check_sites


class WhitePoint(Normalizer):
    """Multiply each channel so that the image's own empty field gets the target's color.

    The gains act on sRGB values, not on linear light. Where the tone curve is a power, both are the same (a gain g of
    the light is a gain g^(1/gamma) of the value), and dark values are not amplified by the toe of the sRGB curve.
    It is von Kries' rule (1902) with the empty field as the white.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
    """

    method: Literal["white-point"] = "white-point"
    target_white: Rgb

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure the target's empty field; the source is not needed."""
        check_sites(source, target)
        return cls(target_white=site_white(target))

    def restain(self, image: UInt8Image) -> UInt8Image:
        """Return the image under the target's white."""
        return whitened(image, self.target_white)
