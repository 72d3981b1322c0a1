"""Objects that may be nuclei of leukocytes: what chromatin dyes stain in a part of a field, with its measures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.fields.density import Absorbed, Chromatin, FloatMap, Mask
from hemabridge.fields.touching import (
    LEAST_PART_UM2,
    WIDEST_PART_UM,
    inner_depth,
    outline,
    parted_nuclei,
    width_of,
    without_far_pieces,
)
from hemabridge.fields.view import Box

Pixels: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of pixels, int64[N] each."""

LEAST_LOBE_UM2: Final = 6.0
"""Smallest area of a lobe that is joined to the rest of its nucleus beyond the largest gap."""

PALE: Final = 0.65
"""Mean contrast below which an object is checked for being a smudge."""


@dataclass(frozen=True)
class DetectionLimits:
    """What distinguishes a leukocyte's nucleus, in micrometers.

    Attributes:
        chromatin_share: of the way from the red cells' chromatin index to the densest nucleus from which a pixel is
            chromatin, 0..1.
        opening_um: radius of the opening that removes thin dark structures.
        gap_um: largest gap between the lobes of one nucleus; nuclei of two cells that touch are parted afterwards.
        least_um2: smallest area of a nucleus.
        least_cut_um2: the same for one that the border of the field cuts.
        least_thickness_um: smallest diameter of the largest disc in the nucleus.
        most_um: largest extent of one cell's nucleus.
        apart_um: smallest distance between the centers of two leukocytes.
        least_contrast: smallest mean of the chromatin index, 0 as the red cells, 1 as the densest nucleus.
        most_blue: largest optical density in blue as a share of that in green, 1 as the red cells: where these overlap,
            light is lost in the same ratio as in one of them, and a nucleus has at most 0.67 of it.
        least_solidity: smallest share that a pale nucleus fills of its convex hull. A burst nucleus is pale and ragged.
    """

    chromatin_share: float = 0.45
    opening_um: float = 0.5
    gap_um: float = 4.0
    least_um2: float = 14.0
    least_cut_um2: float = 12.0
    least_thickness_um: float = 2.4
    most_um: float = 26.0
    apart_um: float = 8.0
    least_contrast: float = 0.5
    most_blue: float = 0.72
    least_solidity: float = 0.4


@dataclass(frozen=True, eq=False)
class StainedObject:
    """One object.

    Attributes:
        pixels: rows and columns of its pixels in the part of the field, int64[N] each.
        box: top, left, bottom, right in pixels of the whole field at working scale, the last two exclusive.
        area_um2, extent_um: its area, and the longer side of its box.
        thickness_um: diameter of the largest disc in it.
        contrast: mean of the chromatin index, 0 as the red cells, 1 as the densest nucleus.
        blue: optical density in blue as a share of that in green, 1 as the red cells.
        solidity: share that it fills of its convex hull; 1 unless it is pale.
        border: whether the border of the field cuts it.
        parted: whether it was parted from another.
    """

    pixels: Pixels
    box: Box
    area_um2: float
    extent_um: float
    thickness_um: float
    contrast: float
    blue: float
    solidity: float
    border: bool
    parted: bool

    def is_leukocyte(self, limits: DetectionLimits) -> bool:
        """Return whether it is the nucleus of a leukocyte."""
        is_large = self.area_um2 >= (limits.least_cut_um2 if self.border else limits.least_um2)
        is_thick = limits.least_thickness_um <= self.thickness_um and self.extent_um <= limits.most_um
        is_dark = self.contrast >= limits.least_contrast and self.solidity >= limits.least_solidity
        return is_large and is_thick and is_dark and self.blue <= limits.most_blue


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a field at working scale.

    Attributes:
        picture: its optical densities, each float32[H, W].
        window: its place in the field.
        shape: height and width of the field.
        um: side of a pixel in micrometers.
        factor: pixels of the image per pixel.
    """

    picture: Absorbed
    window: Box
    shape: tuple[int, int]
    um: float
    factor: float


def stained_objects(part: Part, levels: Chromatin, limits: DetectionLimits) -> Iterator[StainedObject]:
    """Yield all objects of a part of the field that may be nuclei.

    Args:
        part: of the field.
        levels: of the chromatin index in the field.
        limits: sizes.
    """
    um = part.um
    smooth = ndimage.gaussian_filter(part.picture.chromatin, 0.3 / um)
    mask = _opened(smooth > levels.threshold, limits.opening_um / um)
    if not mask.any():
        return
    near = ndimage.distance_transform_edt(~mask) <= limits.gap_um / 2 / um
    labels = _joined_lobes(ndimage.label(near)[0], mask, um)
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        own = without_far_pieces((labels[where] == number) & mask[where], um)
        parts = parted_nuclei(own, um, apart_um=limits.apart_um, least_cut_um2=limits.least_cut_um2)
        for nucleus, parted in parts:
            if nucleus.any():
                rows, columns = np.nonzero(nucleus)
                pixels = rows + where[0].start, columns + where[1].start
                yield _measured(pixels, nucleus, smooth, part, levels, parted)


def _opened(mask: Mask, radius: float) -> Mask:
    if radius < 1:
        return np.asarray(mask)
    reach = int(radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(ndimage.binary_opening(mask, rows**2 + columns**2 <= radius**2))


def _joined_lobes(labels: NDArray[np.int64], mask: Mask, um: float) -> NDArray[np.int64]:
    """Join a lobe, which is smaller than any nucleus, to another object if both are as near as lobes of one cell.

    The lobes of some neutrophils and eosinophils lie at opposite sides of the cell, farther apart than the largest gap.
    """
    areas = np.bincount(labels[mask], minlength=2) * um**2
    areas[0] = 0
    small = np.flatnonzero((areas >= LEAST_LOBE_UM2) & (areas < LEAST_PART_UM2))
    if len(small) == 0 or np.count_nonzero(areas >= LEAST_LOBE_UM2) < 2:
        return labels
    outlines = {int(own): outline((labels == own) & mask) for own in np.flatnonzero(areas >= LEAST_LOBE_UM2)}
    joined = labels
    for one in map(int, small):
        widths = {
            other: width_of(np.concatenate([outlines[one], outlines[other]])) for other in outlines if other != one
        }
        nearest = min(widths, key=lambda other: widths[other])
        if widths[nearest] * um <= WIDEST_PART_UM:
            joined = np.where(joined == one, nearest, joined)
            break  # a nucleus has few such lobes, and two of them are one pair
    return joined


def _measured(
    pixels: Pixels, mask: Mask, smooth: FloatMap, part: Part, levels: Chromatin, parted: bool
) -> StainedObject:
    """Measure one object, with its pixels in the part and its mask."""
    height, width = part.shape
    top, left = int(pixels[0].min()) + part.window[0], int(pixels[1].min()) + part.window[1]
    bottom, right = int(pixels[0].max()) + 1 + part.window[0], int(pixels[1].max()) + 1 + part.window[1]
    contrast = (float(smooth[pixels].mean()) - levels.red) / (levels.densest - levels.red)
    green, blue = (float(plane[pixels].mean()) for plane in part.picture.planes[1:])
    return StainedObject(
        pixels=pixels,
        box=(top, left, bottom, right),
        area_um2=len(pixels[0]) * part.um**2,
        extent_um=max(bottom - top, right - left) * part.um,
        thickness_um=2 * float(inner_depth(mask).max()) * part.um,
        contrast=contrast,
        blue=blue / green / levels.red_blue,
        solidity=_solidity(mask) if contrast < PALE else 1.0,
        border=bool(top <= 1 or left <= 1 or bottom >= height - 1 or right >= width - 1),
        parted=parted,
    )


def _solidity(mask: Mask) -> float:
    """Return the share that an object fills of the convex hull of its pixels' corners."""
    from scipy.spatial import ConvexHull, QhullError  # slow to load, and needed for pale objects only

    points = outline(mask)
    corners = np.concatenate([points + shift for shift in ((0, 0), (1, 0), (0, 1), (1, 1))])
    try:
        return float(np.count_nonzero(mask) / ConvexHull(corners).volume)  # of two dimensions the area
    except QhullError:
        return 1.0


def mask_of(objects: Sequence[StainedObject], shape: tuple[int, int]) -> Mask:
    """Return where the objects of a part are, bool[H, W]."""
    mask = np.zeros(shape, np.bool_)
    for one in objects:
        mask[one.pixels] = True
    return mask
