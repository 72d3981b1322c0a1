"""Reinhard's color transfer: each Lab axis gets the target's mean and standard deviation."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.glass import white_of
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Rgb, as_rgb
from hemabridge.normalizers.measures import sample_pixels, site_glass, site_white, spaced, whitened
from hemabridge.normalizers.normalizer import Measured, Normalizer

LARGEST_GAIN = 3.0
"""Largest factor on the standard deviation of an axis, and inverse of the smallest one."""

BLANK_DEVIATION = 3.0
"""Standard deviation of lightness (0..100) below which an image shows only empty field, shading and noise."""

Coordinate: TypeAlias = Annotated[float, Field(ge=-200, le=200)]
Deviation: TypeAlias = Annotated[float, Field(ge=0, le=200)]


class LabStatistics(BaseModel):
    """Mean and standard deviation of CIE Lab pixels (D65; L 0..100)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mean: tuple[Coordinate, Coordinate, Coordinate]
    deviation: tuple[Deviation, Deviation, Deviation]

    @property
    def is_blank(self) -> bool:
        """Whether the lightness varies so little that only empty field is shown."""
        return self.deviation[0] < BLANK_DEVIATION


@dataclass(frozen=True)
class MeasuredLab(Measured):
    """Measured statistics of an image in Lab."""

    lab: LabStatistics


def lab_statistics(lab: NDArray[np.floating]) -> LabStatistics:
    """Measure Lab pixels [..., 3], at least one."""
    pixels = np.asarray(lab, np.float64).reshape(-1, 3)
    return LabStatistics(mean=as_rgb(pixels.mean(axis=0)), deviation=as_rgb(pixels.std(axis=0)))


def transferred(
    lab: NDArray[np.floating], source: LabStatistics, target: LabStatistics, largest_gain: float = LARGEST_GAIN
) -> NDArray[np.float64]:
    """Return Lab [..., 3] with the target's mean and spread: (x - m_s) d_t / d_s + m_t, the gain d_t / d_s clamped.

    Reinhard, Ashikhmin, Gooch and Shirley (2001), IEEE CG&A 21(5), eq. 10-11, doi:10.1109/38.946629; in CIE Lab
    rather than in their l-alpha-beta.
    """
    spread = np.maximum(np.asarray(source.deviation), 1e-6)
    gain = np.clip(np.asarray(target.deviation) / spread, 1 / largest_gain, largest_gain)
    return np.asarray((lab - np.asarray(source.mean)) * gain + np.asarray(target.mean), np.float64)


class ReinhardImage(Normalizer):
    """Give each image the average Lab mean and standard deviation of the target's images.

    An image that shows only empty field gets the target's white point instead, since it would otherwise get the color
    of a cell. An image without empty field, or of a part of the square around a cell, has another composition than the
    other images of its site; it is mapped by the average statistics of the source.

    Attributes:
        source: the mean over the source's images of their Lab means and deviations.
        target: the mean over the target's images of their Lab means and deviations.
        target_white: color of the target's empty field, sRGB 0..255.
    """

    method: Literal["reinhard-image"] = "reinhard-image"
    source: LabStatistics
    target: LabStatistics
    target_white: Rgb

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure the images of both sites."""
        check_sites(source, target)
        return cls(
            source_glass=site_glass(source),
            source=_usual(source),
            target=_usual(target),
            target_white=site_white(target),
        )

    def measure(self, square: UInt8Image) -> MeasuredLab:
        """Measure mean and standard deviation of an image; those of the site if it shows no empty field."""
        lab = lab_statistics(rgb_to_lab(square))
        white, shows_glass = white_of(square, self.source_glass)
        return MeasuredLab(white, shows_glass, lab if shows_glass or lab.is_blank else self.source)

    def of_part(self) -> "ReinhardSite":
        """Return the map by the average statistics of the source, for pictures of a part of the square."""
        return ReinhardSite(source_glass=self.source_glass, source=self.source, target=self.target)

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with the target's mean and standard deviation."""
        assert isinstance(measured, MeasuredLab)
        if measured.lab.is_blank:
            return whitened(image, measured.white, self.target_white)
        return lab_to_rgb(transferred(rgb_to_lab(image), measured.lab, self.target))


class ReinhardSite(Normalizer):
    """Map all images of a site alike, so that all its pixels together get the target's mean and standard deviation.

    Differences between the images of a site, such as the color of granules, are kept.

    Attributes:
        source: statistics of all pixels of the source.
        target: statistics of all pixels of the target.
    """

    method: Literal["reinhard-site"] = "reinhard-site"
    source: LabStatistics
    target: LabStatistics

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Measure the pixels of both sites."""
        check_sites(source, target)
        own, wanted = (lab_statistics(rgb_to_lab(sample_pixels(images))) for images in (source, target))
        return cls(source_glass=site_glass(source), source=own, target=wanted)

    @property
    def measures_square(self) -> bool:
        """False: the map is that of the site."""
        return False

    def measure(self, square: UInt8Image) -> Measured:
        """Measure nothing: the map is that of the site."""
        return Measured(np.full(3, 255, np.float32), shows_glass=True)

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image, mapped like its site."""
        return self.known_colors.mapped(image, self._transferred)

    def _transferred(self, image: UInt8Image) -> UInt8Image:
        return lab_to_rgb(transferred(rgb_to_lab(image), self.source, self.target))


def _usual(images: UInt8Images) -> LabStatistics:
    """Return the mean of the statistics of a site's images."""
    each = [lab_statistics(rgb_to_lab(image)) for image in spaced(images)]
    return LabStatistics(
        mean=as_rgb(np.mean([one.mean for one in each], axis=0)),
        deviation=as_rgb(np.mean([one.deviation for one in each], axis=0)),
    )
