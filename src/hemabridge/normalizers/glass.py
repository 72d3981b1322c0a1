"""The empty glass of a site: the white of images that show some, and what is taken for those that show none."""

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from hemabridge.domain.cell_descriptor import NAMES
from hemabridge.domain.site_profile import SiteProfile
from hemabridge.imaging.color import lab_to_rgb
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.normalizers.levels import STAINED_OD, Rgb, as_rgb

DARKEST_PERCENTILE: Final = 5.0
"""The darkest glass of a site, over its images: lower ones may already show none."""


class Glass(BaseModel):
    """The colors of a site's empty glass.

    The brightest population of a picture that is filled by cells is cytoplasm. It absorbs light, so that it is darker
    than any glass of the site. The bound follows from the site's own images: what absorbs more than the least
    absorption that counts as stain (`STAINED_OD`) beyond the darkest glass of the site is no glass.

    Attributes:
        white: the site's usual glass, sRGB 0..255: the median over its images.
        darkest: what is darker than this in one channel is no glass of this site, sRGB 0..255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    white: Rgb
    darkest: Rgb

    @classmethod
    def of(cls, whites: NDArray[np.floating]) -> Self:
        """Measure the glass of a site by the brightest population of each of its images, float[N, 3], N at least 1."""
        darkest = np.percentile(whites, DARKEST_PERCENTILE, axis=0) * 10.0**-STAINED_OD
        return cls(white=as_rgb(np.median(whites, axis=0)), darkest=as_rgb(darkest))

    @classmethod
    def of_profile(cls, profile: SiteProfile) -> Self:
        """Take the glass from the profile of a site, which keeps it for each of its cells."""
        columns = [NAMES.index(f"background_{axis}") for axis in "lab"]
        rows = [[row[column] for column in columns] for row in profile.cells]
        lab = np.array([row for row in rows if None not in row] or [[100.0, 0.0, 0.0]], np.float64)
        return cls.of(lab_to_rgb(lab[:, None])[:, 0].astype(np.float64))

    def shown_by(self, white: NDArray[np.floating]) -> bool:
        """Return whether the brightest population of an image, float[3], can be glass of this site."""
        return bool((white >= np.asarray(self.darkest)).all())


def white_of(image: UInt8Image, glass: Glass | None) -> tuple[NDArray[np.float32], bool]:
    """Return the white of an image, float32[3] in 0..255 and at least 1, and whether the image shows it.

    Where the image shows no glass, it is the site's; if no site is given, it is the image's in any case.
    """
    found = background_color(image)
    if glass is None or glass.shown_by(found):
        return np.maximum(found, np.float32(1)), True
    return np.maximum(np.asarray(glass.white, np.float32), np.float32(1)), False
