"""Leukocytes in a whole field: their nuclei by chromatin index and by size in micrometers.

Every constant is in micrometers, or relative to the field's own red cells and densest nucleus.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy import ndimage

from hemabridge.errors import ImageError
from hemabridge.fields.density import Absorbed, Chromatin, FloatMap, Mask, absorbed_light, chromatin_of
from hemabridge.fields.field_image import FieldPixels
from hemabridge.fields.scale import Scale
from hemabridge.fields.touching import inner_depth, parted_nuclei
from hemabridge.fields.view import Box, View
from hemabridge.imaging.compartments import background_color

Kind: TypeAlias = Literal["leukocyte", "platelet", "clump", "smudge", "debris"]
"""What a stained object is: `clump` is wider than a cell, `smudge` paler than a nucleus, `debris` thin or tiny."""

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
            light is lost in the same ratio as in one of them, and a nucleus has at most 0.65 of it.
    """

    chromatin_share: float = 0.45
    opening_um: float = 0.5
    gap_um: float = 4.0
    least_um2: float = 18.0
    least_cut_um2: float = 12.0
    least_thickness_um: float = 2.4
    most_um: float = 26.0
    apart_um: float = 8.0
    least_contrast: float = 0.5
    most_blue: float = 0.85


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
    """

    x: float
    y: float
    diameter_um: float
    score: float
    border: bool
    cluster: bool
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class FieldCells:
    """What was found in a field.

    Attributes:
        leukocytes: from top to bottom, then from left to right.
        others: number of other objects that chromatin dyes stain, by their kind.
    """

    leukocytes: tuple[Leukocyte, ...]
    others: dict[Kind, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Piece:
    """One stained object: what it is, and its measures, which are those of a leukocyte."""

    kind: Kind
    cell: Leukocyte


def find_leukocytes(
    image: FieldPixels, scale: Scale, *, limits: DetectionLimits | None = None, tile_px: int | None = None
) -> FieldCells:
    """Find the leukocytes of a field.

    Chromatin is what absorbs much more green than blue light, above a level between those of the red cells and of the
    densest nucleus. Lobes less than a gap apart are one nucleus. Two thick parts that are farther apart than lobes can
    be are two leukocytes. What is too small, too thin, too pale or too wide is another object.

    Args:
        image: RGB uint8[H, W, 3], or a file of which parts are read.
        scale: of the image (`fields.scale.estimate_scale`).
        limits: sizes; `DetectionLimits()` if None.
        tile_px: side of the parts, at working scale, in which a large image is done; at least 256. The result does not
            depend on it. `TILE_PX`, or less if the image is far finer than needed, if None.

    Raises:
        ImageError: `tile_px` is below 256.
    """
    if tile_px is not None and tile_px < LEAST_TILE_PX:
        raise ImageError(f"expected tile_px of at least {LEAST_TILE_PX}, got {tile_px}; leave it out")
    own = DetectionLimits() if limits is None else limits
    view = View.at(image, scale.um_per_px, WORK_UM)
    levels = _levels(view)
    if levels is None:
        return FieldCells(())
    glass, chromatin = levels
    chromatin = replace(chromatin, threshold=chromatin.red + own.chromatin_share * (chromatin.densest - chromatin.red))
    found: list[_Piece] = []
    for core, window in view.tiles(tile_px or _tile_px(view), OVERLAP_UM):
        picture = absorbed_light(view.part(window), glass)
        for piece in _objects(picture, chromatin, window, view, own):
            row, column = piece.cell.y / view.factor, piece.cell.x / view.factor
            if core[0] <= row < core[2] and core[1] <= column < core[3]:
                found.append(piece)
    found.sort(key=lambda piece: (piece.cell.y, piece.cell.x))
    others: Counter[Kind] = Counter(piece.kind for piece in found if piece.kind != "leukocyte")
    return FieldCells(tuple(piece.cell for piece in found if piece.kind == "leukocyte"), dict(others))


def _tile_px(view: View) -> int:
    """Return the side of a part at working scale, for which at most `MOST_SOURCE_PX` pixels of the image are read."""
    return max(LEAST_TILE_PX, min(TILE_PX, round(MOST_SOURCE_PX / view.factor)))


def _levels(view: View) -> tuple[FloatMap, Chromatin] | None:
    """Return the color of the glass and the levels of the chromatin index, from parts all over the image."""
    parts = [view.part(box) for box in view.sample(_tile_px(view))]
    flat = np.concatenate([part.reshape(1, -1, 3) for part in parts], axis=1)
    glass = background_color(flat)
    spot = max(1, round(3 / view.um))
    found = [level for part in parts if (level := chromatin_of(absorbed_light(part, glass), spot)) is not None]
    if not found:
        return None
    red = float(np.median([level.red for level in found]))
    densest = float(np.median([level.densest for level in found]))
    return glass, Chromatin(red, densest, 0.0, float(np.median([level.red_blue for level in found])))


def _objects(
    picture: Absorbed, levels: Chromatin, window: Box, view: View, limits: DetectionLimits
) -> Iterator[_Piece]:
    """Yield all stained objects of a part of the field."""
    smooth = ndimage.gaussian_filter(picture.chromatin, 0.3 / view.um)
    mask = _opened(smooth > levels.threshold, limits.opening_um / view.um)
    if not mask.any():
        return
    top, left = window[:2]
    near = ndimage.distance_transform_edt(~mask) <= limits.gap_um / 2 / view.um
    labels, _ = ndimage.label(near)
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        own = (labels[where] == number) & mask[where]
        if not own.any():
            continue
        rows, columns = where[0].start + top, where[1].start + left
        for part, parted in parted_nuclei(own, view.um, apart_um=limits.apart_um, least_um2=limits.least_um2):
            green, blue = (float(plane[where][part].mean()) for plane in (picture.green, picture.blue))
            chunk = _Chunk(part, smooth[where], (rows, columns), parted, blue / green)
            yield _piece(chunk, levels, view, limits)


def _opened(mask: Mask, radius: float) -> Mask:
    if radius < 1:
        return np.asarray(mask)
    reach = int(radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(ndimage.binary_opening(mask, rows**2 + columns**2 <= radius**2))


@dataclass(frozen=True)
class _Chunk:
    """One object: its mask, the chromatin index around it, the place of both, and whether it was parted.

    Also its optical density in blue as a share of that in green.
    """

    mask: Mask
    index: FloatMap
    corner: tuple[int, int]
    parted: bool
    blue: float


def _piece(chunk: _Chunk, levels: Chromatin, view: View, limits: DetectionLimits) -> _Piece:
    """Measure one object and name its kind."""
    um = view.um
    mask, (height, width) = chunk.mask, view.shape
    rows, columns = np.nonzero(mask)
    top, left = rows.min() + chunk.corner[0], columns.min() + chunk.corner[1]
    bottom, right = rows.max() + 1 + chunk.corner[0], columns.max() + 1 + chunk.corner[1]
    border = bool(top <= 1 or left <= 1 or bottom >= height - 1 or right >= width - 1)
    area = len(rows) * um**2
    contrast = (float(chunk.index[mask].mean()) - levels.red) / (levels.densest - levels.red)
    thickness = 2 * float(inner_depth(mask).max()) * um
    extent = max(bottom - top, right - left) * um
    kind = _kind(area, thickness, extent, contrast, border, limits)
    if chunk.blue > limits.most_blue * levels.red_blue:
        kind = "debris"
    score = min(1.0, contrast) * min(1.0, area / 40)
    box = tuple(float(value * view.factor) for value in (left, top, right, bottom))
    cell = Leukocyte(
        (box[0] + box[2]) / 2,
        (box[1] + box[3]) / 2,
        float(2 * np.sqrt(area / np.pi)),
        float(score),
        border,
        chunk.parted,
        (box[0], box[1], box[2], box[3]),
    )
    return _Piece(kind, cell)


def _kind(area: float, thickness: float, extent: float, contrast: float, border: bool, limits: DetectionLimits) -> Kind:
    if area < (limits.least_cut_um2 if border else limits.least_um2):
        return "platelet" if area >= 1.5 else "debris"
    if thickness < limits.least_thickness_um:
        return "debris"
    if extent > limits.most_um:
        return "clump"
    return "leukocyte" if contrast >= limits.least_contrast else "smudge"
