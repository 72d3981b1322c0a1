"""The cells of a whole field, with its scale and quality, and their crops."""

from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.fields.cell_size import cell_diameter_um
from hemabridge.fields.detect import FieldCells, Leukocyte, find_leukocytes
from hemabridge.fields.field_image import FieldImage, FieldPixels
from hemabridge.fields.field_scale import Scale, estimate_scale, stated_scale
from hemabridge.fields.platelets import Kind
from hemabridge.fields.pooled_scale import MOST_RATIO, SURE_RED_CELLS
from hemabridge.fields.quality import Fault, Quality, measure_quality
from hemabridge.fields.red_cells import RED_CELL_UM
from hemabridge.fields.single_cell import cell_edge_um
from hemabridge.fields.view import View
from hemabridge.imaging.standardizer import UInt8Image

FieldStatus: TypeAlias = Fault | Literal["searched", "unknown scale"]
"""`searched`, or why the field is not fit for a count. Of a `blurred` or `crowded` field the cells are given too."""

CROP_UM: Final = 25.0
"""Side of the square that is cut around a leukocyte, in micrometers: monocytes, the largest, are 15 to 20 um wide."""

LEUKOCYTE_UM: Final = 13.0
"""Diameter of a leukocyte on a smear for the area that red cells do not have: 10 to 20 um (Bain 2015, chapter 3)."""

MOST_SEEN_PX: Final = 512
"""Longest side to which a field without a scale is shrunk to tell whether there is anything in it."""

GRAY_RANGE: Final = 4
"""Largest distance of the channels of a pixel of a gray picture, of 255: what the rounding of a JPEG makes."""

EMPTY_RANGE: Final = 25.0
"""Largest range of the colors of a field without cells, of 255; a pale red cell differs by 30 from the glass."""


@dataclass(frozen=True)
class FoundCells:
    """What was found in a field.

    Attributes:
        status: `searched`, or why the field is not fit for a count.
        reason: a sentence about that; empty for `searched`.
        scale: micrometers per pixel, with its source and interval; None if it is unknown.
        leukocytes: from top to bottom, then from left to right, in pixels of the field.
        others: number of other stained objects: `platelet`, `clump`, `smudge`, `debris`.
        quality: how much of the field cells cover, about how many red cells that is, and the width of their edges;
            None if the scale is unknown.

    Example:
        >>> import numpy as np
        >>> import hemabridge as hb
        >>> found = hb.find_cells(np.full((480, 640, 3), 230, np.uint8))
        >>> found.status, found.leukocytes
        ('empty', ())
    """

    status: FieldStatus
    reason: str
    scale: Scale | None
    leukocytes: tuple[Leukocyte, ...] = ()
    others: dict[Kind, int] = field(default_factory=dict)
    quality: Quality | None = None

    @property
    def border_cells(self) -> int:
        """Number of leukocytes that the border of the field cuts."""
        return sum(cell.border for cell in self.leukocytes)

    @property
    def blurred_cells(self) -> int:
        """Number of leukocytes that are too blurred for a certain class."""
        return sum(cell.blurred for cell in self.leukocytes)

    def crop_px(self, crop_um: float = CROP_UM) -> int:
        """Return the side of a crop of `crop_um` micrometers in pixels of the field, at least 8.

        Raises:
            ImageError: the scale is unknown.
        """
        if self.scale is None:
            raise ImageError(f"expected a field of known scale, got {self.status}: {self.reason}")
        return max(8, round(crop_um / self.scale.um_per_px))


def find_cells(image: UInt8Image, um_per_px: float | None = None) -> FoundCells:
    """Find the leukocytes of a whole field of a microscope, at any magnification at which red cells can be seen.

    Args:
        image: RGB uint8[H, W, 3], 0..255.
        um_per_px: micrometers per pixel, if known; estimated from the red cells, or else from the nuclei, if None.

    Returns:
        The leukocytes with centers, sizes and sharpness, counts of other objects, and whether the field is fit for a
        count. Without a scale nothing is searched.

    Raises:
        ImageError: `image` is no RGB image or a gray one, or `um_per_px` is not above 0.

    Example:
        >>> import numpy as np
        >>> from skimage.draw import disk
        >>> import hemabridge as hb
        >>> field = np.full((300, 400, 3), (230, 225, 220), np.uint8)
        >>> for row, column in [(60, 60), (60, 200), (60, 330), (230, 60), (230, 330)]:  # red cells 75 px wide
        ...     field[disk((row, column), 37.5)] = (190, 140, 140)
        >>> field[disk((200, 200), 40)] = (90, 40, 130)  # a nucleus
        >>> found = hb.find_cells(field)
        >>> [(round(cell.x, -1), round(cell.y, -1), round(cell.diameter_um)) for cell in found.leukocytes]
        [(200.0, 200.0, 8)]
        >>> crop = hb.cut_cell(field, found.leukocytes[0], found.crop_px(20.0))
        >>> crop.shape
        (200, 200, 3)
    """
    _check(image)
    return find_cells_at(image, estimate_scale(image) if um_per_px is None else stated_scale(um_per_px))


def find_cells_at(image: FieldPixels, scale: Scale | None) -> FoundCells:
    """Do the same as `find_cells` at a scale that was worked out, in an image or a file of which parts are read.

    Raises:
        ImageError: nothing was found, and the image is gray.
    """
    if scale is None:
        return _without_scale(image)
    cells: FieldCells = find_leukocytes(image, scale)
    if not cells.leukocytes:
        _check_color(image)
    quality = measure_quality(image, scale.um_per_px, len(cells.leukocytes) * np.pi / 4 * LEUKOCYTE_UM**2)
    fault = quality.fault if not (quality.fault == "empty" and cells.leukocytes) else None
    found = FoundCells(
        fault or "searched", quality.reason if fault else "", scale, cells.leukocytes, cells.others, quality
    )
    return replace(
        found, leukocytes=tuple(_measured(image, cell, found.crop_px(), scale.um_per_px) for cell in found.leukocytes)
    )


def _measured(image: FieldPixels, cell: Leukocyte, side_px: int, um_per_px: float) -> Leukocyte:
    """Return a leukocyte with what its crop alone tells: the width of its edge, and its size with the cytoplasm."""
    crop = cut_cell(image, cell, side_px)
    size = cell_diameter_um(crop, um_per_px)
    if size is not None:
        height, width = image.shape[:2]
        to_border_px = min(cell.x, cell.y, width - cell.x, height - cell.y)
        size = None if cell.border or size / 2 / um_per_px > to_border_px else size
    return replace(cell, edge_um=cell_edge_um(crop, um_per_px), cell_um=size)


def cut_cell(image: FieldPixels, cell: Leukocyte, side_px: int) -> UInt8Image:
    """Cut a square around a leukocyte; outside of the field its edge pixels are repeated.

    Args:
        image: RGB uint8[H, W, 3], the field in which the cell was found, or its open file.
        cell: the leukocyte.
        side_px: side of the square in pixels of the field, at least 1; `FoundCells.crop_px` makes it of micrometers.

    Returns:
        RGB uint8[side_px, side_px, 3], a copy.

    Raises:
        ImageError: `side_px` is below 1.

    Example:
        >>> import numpy as np
        >>> import hemabridge as hb
        >>> field = np.full((480, 640, 3), 230, np.uint8)
        >>> [hb.cut_cell(field, cell, 160) for cell in hb.find_cells(field, um_per_px=0.1).leukocytes]
        []
    """
    if side_px < 1:
        raise ImageError(f"expected side_px of at least 1 pixel, got {side_px}")
    height, width = image.shape[:2]
    rows = np.clip(np.arange(side_px) + round(cell.y - side_px / 2), 0, height - 1)
    columns = np.clip(np.arange(side_px) + round(cell.x - side_px / 2), 0, width - 1)
    window = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.ascontiguousarray(window[(rows - rows[0])[:, None], columns - columns[0]])


def checked_scale(field: FieldImage) -> tuple[Scale | None, str]:
    """Return the scale of a field by its own file or cells, and a remark where the file's statement was not taken.

    What the file states is taken, unless at least `SURE_RED_CELLS` of the field's red cells would be far from 7.5 um.
    """
    estimated = estimate_scale(field.pixels)
    if field.um_per_px is None:
        return estimated, ""
    is_sure = estimated is not None and estimated.source == "red cells" and estimated.cells >= SURE_RED_CELLS
    if estimated is not None and is_sure:
        ratio = estimated.um_per_px / field.um_per_px
        if not 1 / MOST_RATIO < ratio < MOST_RATIO:
            said = f"the file states {field.um_per_px:.4g} um per pixel, at which its red cells would be "
            return estimated, f"{said}{RED_CELL_UM / ratio:.1f} um wide; the scale of the red cells was taken"
    return stated_scale(field.um_per_px, "file"), ""


def remark_on_rough(scale: Scale | None) -> str:
    """Return that a scale is rough; empty if it is not."""
    if scale is None or not scale.is_rough:
        return ""
    return (
        f"the scale is rough: {scale.low:.2g} to {scale.high:.2g} um per pixel, from {scale.source}; state it if you "
        "know it (um_per_px, --um-per-px)"
    )


def _without_scale(image: FieldPixels) -> FoundCells:
    """Return the result for a field without a scale: an empty one, or one whose scale must be stated."""
    if _is_empty(_seen(image)):
        return FoundCells("empty", "the field has no contrast: glass, or out of focus", None)
    reason = "neither red cells nor nuclei state micrometers per pixel; state them (um_per_px, --um-per-px)"
    return FoundCells("unknown scale", reason, None)


def _seen(image: FieldPixels) -> UInt8Image:
    """Return the whole field, at most `MOST_SEEN_PX` wide."""
    return View(image, max(1.0, max(image.shape[:2]) / MOST_SEEN_PX), 1.0).whole()


def _is_empty(seen: UInt8Image) -> bool:
    pale = seen.reshape(-1, 3).astype(np.float32)
    return float(np.ptp(np.quantile(pale, [0.005, 0.995], axis=0), axis=0).max()) < EMPTY_RANGE


def _check_color(image: FieldPixels) -> None:
    """Check that a field in which nothing was found is no gray picture, in which nothing can be found."""
    seen = _seen(image)
    if int(np.ptp(seen, axis=2).max()) <= GRAY_RANGE and not _is_empty(seen):
        raise ImageError("expected a field in color, got a gray picture, in which no stain can be seen")


def _check(image: UInt8Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f"expected RGB uint8[H, W, 3], got {image.dtype}{list(image.shape)}; read it by read_image")
