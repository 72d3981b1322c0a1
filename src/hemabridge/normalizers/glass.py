"""The empty glass of a site: the white point of images that show glass, and the substitute for images that do not."""

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
"""Percentile, over the images of a site, that counts as its darkest glass; darker images may show none."""


class Glass(BaseModel):
    """The colors of a site's empty glass.

    In an image that is filled by cells, the brightest pixels are cytoplasm. Cytoplasm absorbs light and is therefore
    darker than the glass of the same site. The limit is computed from the site's own images: the density of glass is at
    most that of the site's darkest glass plus the smallest density that counts as stain (`STAINED_OD`).

    Attributes:
        white: the site's usual glass, sRGB 0..255: the median over its images.
        darkest: a color darker than this in any channel is not glass of this site, sRGB 0..255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    white: Rgb
    darkest: Rgb

    @classmethod
    def of(cls, whites: NDArray[np.floating]) -> Self:
        """Compute the glass of a site from the brightest population of each image, float[N, 3], N at least 1."""
        darkest = np.percentile(whites, DARKEST_PERCENTILE, axis=0) * 10.0**-STAINED_OD
        return cls(white=as_rgb(np.median(whites, axis=0)), darkest=as_rgb(darkest))

    @classmethod
    def of_profile(cls, profile: SiteProfile) -> Self:
        """Take the glass from the profile of a site, which has the background color of each of its cells."""
        columns = [NAMES.index(f"background_{axis}") for axis in "lab"]
        rows = [[row[column] for column in columns] for row in profile.cells]
        lab = np.array([row for row in rows if None not in row] or [[100.0, 0.0, 0.0]], np.float64)
        return cls.of(lab_to_rgb(lab[:, None])[:, 0].astype(np.float64))

    def shown_by(self, white: NDArray[np.floating]) -> bool:
        """Return whether the brightest population of an image, float[3], can be glass of this site."""
        return bool((white >= np.asarray(self.darkest)).all())


def white_of(image: UInt8Image, glass: Glass | None) -> tuple[NDArray[np.float32], bool]:
    """Return the white point of an image, float32[3] in 1..255, and whether it was measured in the image.

    If the image shows no glass, the site's white point is returned. Without a site it is always that of the image.
    """
    found = background_color(image)
    if glass is None or glass.shown_by(found):
        return np.maximum(found, np.float32(1)), True
    return np.maximum(np.asarray(glass.white, np.float32), np.float32(1)), False
