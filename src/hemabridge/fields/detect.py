"""Leukocytes in a whole field: their nuclei by chromatin index and by size in micrometers.

Every constant is in micrometers, or relative to the field's own red cells and densest nucleus.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.fields.density import Absorbed, Chromatin, FloatMap, absorbed_light, chromatin_of, dye_colors
from hemabridge.fields.field_image import FieldPixels
from hemabridge.fields.field_scale import Scale
from hemabridge.fields.platelets import Kind, dye_weights, small_objects
from hemabridge.fields.sharpness import reason_blurred
from hemabridge.fields.stained_objects import DetectionLimits, Part, StainedObject, mask_of, stained_objects
from hemabridge.fields.view import Box, View
from hemabridge.imaging.compartments import background_color

WORK_UM: Final = 0.25
"""Side of a pixel in micrometers at which nuclei are found. A coarser image is not enlarged."""

TILE_PX: Final = 1024
"""Side at working scale of the parts in which a large image is done, so that memory does not grow with the image."""

MOST_SOURCE_PX: Final = 4096
"""Largest side of a part in pixels of the image."""

OVERLAP_UM: Final = 40.0
"""How far a part reaches into its neighbors: more than the extent of a leukocyte and of the gaps in it."""

LEAST_TILE_PX: Final = 256
"""Smallest such side."""


@dataclass(frozen=True)
class Leukocyte:
    """A leukocyte in a field.

    Attributes:
        x, y: center of the nucleus, the middle of its bounding box, in pixels of the field from its left and top edge.
        diameter_um: of the disc with the area of the nucleus, in micrometers.
        score: how dense and how large the nucleus is, 0..1; for the order in which people check cells.
        border: whether the border of the field cuts the nucleus.
        cluster: whether it was parted from a leukocyte that touches it.
        box: bounding box of the nucleus in pixels: left, top, right, bottom, the last two exclusive.
        edge_um: width of the edge of the nucleus in micrometers, which grows with blur (`fields.sharpness`); None if
            it was not measured, or if the surroundings of the cell alone show no nucleus.
        cell_um: diameter of the disc with the area of the whole cell, in micrometers; None if it was not measured, or
            if the border cuts the cell.
    """

    x: float
    y: float
    diameter_um: float
    score: float
    border: bool
    cluster: bool
    box: tuple[float, float, float, float]
    edge_um: float | None = None
    cell_um: float | None = None

    @property
    def blurred(self) -> bool:
        """Whether it is too blurred for a certain class."""
        return bool(reason_blurred(self.edge_um))

    @classmethod
    def of(cls, found: StainedObject, factor: float) -> "Leukocyte":
        """Return the leukocyte of a nucleus in an image with `factor` pixels per pixel at working scale."""
        top, left, bottom, right = (float(value * factor) for value in found.box)
        return cls(
            x=(left + right) / 2,
            y=(top + bottom) / 2,
            diameter_um=float(2 * np.sqrt(found.area_um2 / np.pi)),
            score=min(1.0, found.contrast) * min(1.0, found.area_um2 / 40),
            border=found.border,
            cluster=found.parted,
            box=(left, top, right, bottom),
        )


@dataclass(frozen=True)
class StainedPlace:
    """A stained object that is no leukocyte: its kind, and its center in pixels of the field."""

    kind: Kind
    x: float
    y: float


@dataclass(frozen=True)
class FieldCells:
    """What was found in a field.

    Attributes:
        leukocytes: from top to bottom, then from left to right.
        small: other objects that the nuclear dyes stain, in the same order.
    """

    leukocytes: tuple[Leukocyte, ...]
    small: tuple[StainedPlace, ...] = ()

    @property
    def others(self) -> dict[Kind, int]:
        """Number of the other objects by their kind."""
        return dict(Counter(one.kind for one in self.small))


@dataclass(frozen=True, eq=False)
class _Levels:
    """What a field's pixels are compared with: the glass, the chromatin, and the weights of the nuclear dye.

    `weights` is None if what is small is not wanted, or if there is nothing to learn it from. `whole` is the picture of
    the whole field, if it was measured in one part.
    """

    glass: FloatMap
    chromatin: Chromatin | None
    weights: FloatMap | None
    whole: Absorbed | None


def find_leukocytes(
    image: FieldPixels,
    scale: Scale,
    *,
    limits: DetectionLimits | None = None,
    tile_px: int | None = None,
    with_small: bool = True,
) -> FieldCells:
    """Find the leukocytes of a field, and count what else the nuclear dyes stain.

    Chromatin is what absorbs much more green than blue light, above a level between those of the red cells and of the
    densest nucleus. Lobes less than a gap apart are one nucleus. Two thick parts that are farther apart than lobes can
    be are two leukocytes. What is too small, too thin, too pale, too ragged or too wide is none.

    Args:
        image: RGB uint8[H, W, 3], or a file of which parts are read.
        scale: of the image (`fields.field_scale.estimate_scale`).
        limits: sizes; `DetectionLimits()` if None.
        tile_px: side of the parts, at working scale, in which a large image is done; at least 256. The result does not
            depend on it. `TILE_PX`, or less if the image is far finer than needed, if None.
        with_small: whether other stained objects are looked for; without them it is faster.

    Raises:
        ImageError: `tile_px` is below 256.
    """
    if tile_px is not None and tile_px < LEAST_TILE_PX:
        raise ImageError(f"expected tile_px of at least {LEAST_TILE_PX}, got {tile_px}; leave it out")
    own = DetectionLimits() if limits is None else limits
    view = View.at(image, scale.um_per_px, WORK_UM)
    levels = _levels(view, own.chromatin_share, with_dyes=with_small)
    cells: list[Leukocyte] = []
    small: list[StainedPlace] = []
    for core, part in _parts(view, levels, tile_px):
        objects = [] if levels.chromatin is None else list(stained_objects(part, levels.chromatin, own))
        nuclei = [one for one in objects if one.is_leukocyte(own)]
        found = [Leukocyte.of(one, view.factor) for one in nuclei]
        cells += [cell for cell in found if _is_in(core, cell.y / view.factor, cell.x / view.factor)]
        if with_small:
            small += [
                one for one in _small(part, levels, nuclei) if _is_in(core, one.y / view.factor, one.x / view.factor)
            ]
    return FieldCells(tuple(sorted(cells, key=_place)), tuple(sorted(small, key=_place)))


def measured_objects(
    image: FieldPixels, scale: Scale, limits: DetectionLimits
) -> list[tuple[Leukocyte, StainedObject]]:
    """Return all objects that may be nuclei, measured once for any limits of `StainedObject.is_leukocyte`.

    `chromatin_share`, `opening_um`, `gap_um` and `apart_um` of `limits` decide what an object is.
    """
    view = View.at(image, scale.um_per_px, WORK_UM)
    levels = _levels(view, limits.chromatin_share, with_dyes=False)
    if levels.chromatin is None:
        return []
    return [
        (Leukocyte.of(one, view.factor), one)
        for _, part in _parts(view, levels, max(view.shape))
        for one in stained_objects(part, levels.chromatin, limits)
    ]


def _parts(view: View, levels: _Levels, tile_px: int | None) -> Iterator[tuple[Box, Part]]:
    """Yield the core of each part of the field, and the part; nothing where nothing can be found."""
    if levels.chromatin is None and levels.weights is None:
        return
    for core, window in view.tiles(tile_px or _tile_px(view), OVERLAP_UM):
        picture = levels.whole if window == (0, 0, *view.shape) else None
        if picture is None:
            picture = absorbed_light(view.part(window), levels.glass)
        yield core, Part(picture, window, view.shape, view.um, view.factor)


def _is_in(core: Box, row: float, column: float) -> bool:
    return core[0] <= row < core[2] and core[1] <= column < core[3]


def _place(found: Leukocyte | StainedPlace) -> tuple[float, float]:
    return found.y, found.x


def _small(part: Part, levels: _Levels, nuclei: list[StainedObject]) -> list[StainedPlace]:
    """Return the stained objects of a part that are no leukocytes, in pixels of the field."""
    if levels.weights is None:
        return []
    height, width = part.picture.green.shape
    found = small_objects(part.picture, levels.weights, mask_of(nuclei, (height, width)), part.um)
    top, left = part.window[:2]
    factor = part.factor
    return [StainedPlace(one.kind, (one.column + left) * factor, (one.row + top) * factor) for one in found]


def _tile_px(view: View) -> int:
    """Return the side of a part at working scale, for which at most `MOST_SOURCE_PX` pixels of the image are read."""
    return max(LEAST_TILE_PX, min(TILE_PX, round(MOST_SOURCE_PX / view.factor)))


def _levels(view: View, chromatin_share: float, *, with_dyes: bool) -> _Levels:
    """Return what the pixels are compared with, from parts all over the image; the dyes if what is small is wanted."""
    boxes = view.sample(_tile_px(view))
    parts = [view.part(box) for box in boxes]
    glass = background_color(np.concatenate([part.reshape(1, -1, 3) for part in parts], axis=1))
    pictures = [absorbed_light(part, glass) for part in parts]
    whole = pictures[0] if boxes == [(0, 0, *view.shape)] else None
    spot = max(1, round(3 / view.um))
    found = [(picture, level) for picture in pictures if (level := chromatin_of(picture, spot)) is not None]
    if not found:
        reds = [dye_colors(picture, None)[0] for picture in pictures if with_dyes and picture.foreground.any()]
        return _Levels(glass, None, dye_weights(np.median(reds, axis=0), None) if reds else None, whole)
    weights = None
    if with_dyes:
        colors = np.median([dye_colors(picture, level) for picture, level in found], axis=0)
        weights = dye_weights(colors[0], colors[1])
    red, densest, red_blue = (
        float(np.median([getattr(level, name) for _, level in found])) for name in ("red", "densest", "red_blue")
    )
    threshold = red + chromatin_share * (densest - red)
    return _Levels(glass, Chromatin(red, densest, threshold, red_blue), weights, whole)
