"""The side of the square around a cell in the images of a site, so that cells of all sites appear equally large."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from hemabridge.fields.field_scale import discs_in
from hemabridge.fields.red_cells import RED_CELL_UM, SURE_RED_CELLS, Discs, joined
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.kept import Kept, content_hash
from hemabridge.imaging.scale import NUCLEUS_FRACTION, nucleus_diameter_px
from hemabridge.imaging.standardizer import UInt8Image

CELL_CROP_UM: Final = 18.4
"""Side of the square in micrometers, by red cells 7.5 um wide: about 180 pixels of Hospital Clinic's images."""

MOST_ERROR_OF_CROP: Final = 0.06
"""Largest half of the 95 % interval of the size of red cells, in natural logarithms, with which they state the crop."""

MOST_FROM_NUCLEI: Final = 1.3
"""Largest factor by which a red cell differs from what the median nucleus proposes; other discs are something else."""


@dataclass(frozen=True)
class CellSize:
    """What one image says about the size of cells.

    Attributes:
        nucleus_px: diameter of the nucleus in its middle, in pixels; None if it has none.
        red_cells: discs outside of the leukocyte that may be red cells.
    """

    nucleus_px: float | None
    red_cells: Discs

    @classmethod
    def of(cls, image: UInt8Image) -> "CellSize":
        """Measure one RGB image, uint8[H, W, 3], with a cell in its middle.

        Sizes of recent images are kept: a study, a fit and an audit ask for the same ones again and again.
        """
        return _SIZES.get(content_hash(image), partial(cls._measured, image))

    @classmethod
    def _measured(cls, image: UInt8Image) -> "CellSize":
        return cls(nucleus_diameter_px(image), discs_in(image).outside(segment(image).cell))


_SIZES: Kept[str, CellSize] = Kept(2_000)


def propose_crop_px(sizes: Iterable[CellSize]) -> int | None:
    """Propose the crop of a site, in pixels, from a sample of its images; None if no nucleus was found.

    Red cells differ less between people and hospitals than nuclei, whose size depends on which classes are there and
    on the focus. So the red cells of all images together give the crop, if they are many and alike. Otherwise the
    median nucleus does.
    """
    found = list(sizes)
    nuclei = [each.nucleus_px for each in found if each.nucleus_px is not None]
    if not nuclei:
        return None
    by_nuclei = float(np.median(nuclei)) / NUCLEUS_FRACTION
    expected_px = by_nuclei * RED_CELL_UM / CELL_CROP_UM
    red_cells = joined(each.red_cells.near(expected_px, MOST_FROM_NUCLEI) for each in found)
    if red_cells is None or red_cells.count < SURE_RED_CELLS or red_cells.error > MOST_ERROR_OF_CROP:
        return max(1, round(by_nuclei))
    return max(1, round(CELL_CROP_UM / red_cells.um_per_px))
