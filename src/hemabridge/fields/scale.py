"""Scale of a field in micrometers per pixel, from its own red cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy import ndimage

from hemabridge.errors import ImageError
from hemabridge.fields.circles import RADII_PX, Circle, Floats, find_circles
from hemabridge.fields.density import Absorbed, FloatMap, absorbed_light, nuclear_threshold, resized
from hemabridge.fields.field_image import FieldPixels
from hemabridge.imaging.compartments import background_color, dilated, opened
from hemabridge.imaging.standardizer import UInt8Image

ScaleSource: TypeAlias = Literal["red cells", "nuclei", "stated", "file"]

RED_CELL_UM: Final = 7.5
"""Diameter of a red cell on a smear in micrometers: 7 to 8 (Bain, Blood Cells, 5th ed. 2015, chapter 3)."""

NUCLEUS_UM: Final = 8.8
"""Diameter of the disc with the area of the largest nucleus of a field, in micrometers.

It is the median over two collections whose red cells are 7.5 um wide (BCCD 8.9, Raabin 8.7). The middle half of the
nuclei is within 12 and 21 % of it, so that a scale from nuclei is rough.
"""

LOOK_PX: Final = 330
"""Side in pixels of the pictures in which red cells are looked for."""

LEAST_RED_CELLS: Final = 2.2
"""Smallest number of red cells of one size that states a scale; each counts by how near it is to that size, 0..1."""

MOST_ERROR: Final = 0.2
"""Largest half of the 95 % interval of a size, in natural logarithms; beyond it red cells do not state a scale."""

MOST_WHOLE_PX: Final = 4096
"""Longest side of an image that is looked at as a whole; in a larger one no red cell could be recognized."""

SURE_RED_CELLS: Final = 12
"""Number of red cells from which nuclei are not asked whether the scale is plausible."""

LEAST_COVERED: Final = 0.03
"""Smallest share of the area that red cells cover at a finer level; bubbles and grains cover less."""

_WIDTH: Final = 0.16  # of the kernel that finds the most frequent size, in natural logarithms
_NEAR: Final = 0.18  # standard deviation of the weight of sizes near it, in natural logarithms
_LEAST_SPREAD: Final = 0.06  # of the sizes of red cells: of fewer the spread may be 0 by chance
_SHIFTS: Final = 20
_NUCLEUS_SPREAD: Final = 0.35
_MOST_PARTS: Final = 3  # windows in a row and in a column
_MOST_WINDOWS: Final = 5  # the same of a large image, much of which may be glass
_SPOT_PX: Final = round(0.05 * LOOK_PX)  # side of the spot of `chromatin_of`
_FLAT: Final = 0.35  # optical density from which all is equally dark, so that edges of nuclei do not prevail


@dataclass(frozen=True)
class Scale:
    """Scale of a field.

    Attributes:
        um_per_px: micrometers per pixel of the original image.
        low, high: 95 % interval of it; without the 7 to 8 um that red cells differ by between people.
        source: `red cells`, `nuclei`, `stated` by the user, or the `file`.
        cells: number of red cells, or of nuclei, that it comes from; 0 if stated.
    """

    um_per_px: float
    low: float
    high: float
    source: ScaleSource
    cells: int

    @property
    def is_rough(self) -> bool:
        """Whether the interval is wider than any that red cells state (`MOST_ERROR`); that of nuclei is."""
        return bool(np.log(self.high / self.low) / 2 > MOST_ERROR)


def stated_scale(um_per_px: float, source: ScaleSource = "stated") -> Scale:
    """Return a scale that the user, or the file, states.

    Raises:
        ImageError: it is not above 0 and finite.
    """
    if not (np.isfinite(um_per_px) and um_per_px > 0):
        raise ImageError(f"expected um_per_px above 0, got {um_per_px}; a 100x objective has about 0.05 to 0.1")
    return Scale(um_per_px, um_per_px, um_per_px, source, 0)


def estimate_scale(image: FieldPixels, *, is_quick: bool = False) -> Scale | None:
    """Estimate the scale of a field from its red cells, or else from its nuclei.

    Discs are looked for in the whole field resized to `LOOK_PX`; if fewer than three are found, in parts of it at
    finer levels. The diameter is the most frequent one, and the interval that of the mean of its red cells.

    Args:
        image: RGB uint8[H, W, 3], a field of any size, or a file of which parts are read.
        is_quick: whether parts are left out if a nucleus is so wide that the whole shows red cells, except for a few.

    Returns:
        The scale; None if neither red cells nor nuclei are found.

    Example:
        >>> import numpy as np
        >>> from hemabridge.fields.scale import estimate_scale
        >>> estimate_scale(np.full((100, 100, 3), 240, np.uint8)) is None
        True
    """
    if max(image.shape[:2]) > MOST_WHOLE_PX:
        return _scale_of_large(image)
    whole, factor = _part(image, 1, (0, 0))
    glass = background_color(whole)
    picture = absorbed_light(whole, glass)
    nuclear = nuclear_threshold(picture, _SPOT_PX)
    best = _most_frequent(_discs(picture, nuclear, factor))
    nuclei = None if best is not None and best.is_sure else _scale_of_nuclei(picture, nuclear, factor)
    is_wide = nuclei is not None and nuclei.high <= RED_CELL_UM * factor / (2 * RADII_PX[0])
    if best is None and not (is_quick and is_wide):
        best = _at_finer_levels(image, glass, nuclear)
    if best is not None and best.is_sure:
        return best.scale()
    if best is None or best.error > MOST_ERROR or (nuclei is not None and best.scale().um_per_px > nuclei.high):
        return nuclei  # a nucleus would be twice as wide as one is: the discs are granules or texture
    return best.scale()


@dataclass(frozen=True)
class _Discs:
    """Discs that may be red cells: diameters in pixels of the image, and coverage by edges, each float64[N]."""

    diameters: Floats
    coverage: Floats


_NO_DISCS: Final = _Discs(np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class _Size:
    """The most frequent size of discs.

    Attributes:
        middle: mean of the natural logarithms of their diameters in pixels of the image.
        error: half of the 95 % interval of it.
        count: number of discs, each by how near it is to this size.
        area: area of these discs in square pixels of the image.
    """

    middle: float
    error: float
    count: float
    area: float

    @property
    def is_sure(self) -> bool:
        """Whether these discs are so many and so equal that nuclei are not asked whether the scale is plausible."""
        return self.error <= MOST_ERROR and self.count >= SURE_RED_CELLS

    def scale(self) -> Scale:
        """Return the scale at which these discs are red cells."""
        um_per_px = RED_CELL_UM / float(np.exp(self.middle))
        low, high = um_per_px * np.exp(-self.error), um_per_px * np.exp(self.error)
        return Scale(um_per_px, float(low), float(high), "red cells", round(self.count))


def _scale_of_large(image: FieldPixels) -> Scale | None:
    """Return the scale of an image that is far wider than the field of an objective, from windows all over it."""
    side = max(image.shape[:2])
    parts = 2 ** int(np.ceil(np.log2(side / MOST_WHOLE_PX)))
    best, share = None, 0.0
    while parts * LOOK_PX <= 2 * side:
        windows = [window for window in _windows(image, parts) if window[2].edge is not None]
        levels = [level for _, _, own in windows if (level := nuclear_threshold(own, _SPOT_PX)) is not None]
        nuclear = float(np.median(levels)) if levels else None
        found = _joined([_discs(picture, nuclear, factor) for _, factor, picture in windows])
        seen = sum(pixels for pixels, _, _ in windows)
        if _covered(found, seen or 1) > max(share, LEAST_COVERED):
            best, share = found, _covered(found, seen)
        parts *= 2
    return best.scale() if best is not None and best.error <= MOST_ERROR else None


def _windows(image: FieldPixels, parts: int) -> Iterator[tuple[int, float, Absorbed]]:
    """Yield pixels, factor and absorbed light of windows in a row and column of `_MOST_WINDOWS`, spread evenly."""
    side = -(-max(image.shape[:2]) // parts)
    rows, columns = (max(1, length // side) for length in image.shape[:2])
    for place in _places(rows, columns, _MOST_WINDOWS):
        window, factor = _part(image, parts, place)
        pixels = round(window.shape[0] * window.shape[1] / factor**2)
        yield pixels, factor, absorbed_light(window, background_color(window))


def _places(rows: int, columns: int, most: int) -> list[tuple[int, int]]:
    """Return rows and columns of windows, at most `most` of each, spread evenly."""
    down, across = (
        np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist() for count in (rows, columns)
    )
    return list(product(down, across))


def _part(image: FieldPixels, parts: int, place: tuple[int, int]) -> tuple[UInt8Image, float]:
    """Return one of `parts` x `parts` windows at `LOOK_PX`, and the factor by which it is resized."""
    side = -(-max(image.shape[:2]) // parts)
    top, left = place[0] * side, place[1] * side
    window = image[top : top + side, left : left + side]
    factor = LOOK_PX / side
    return resized(window, factor), factor


def _covered(size: _Size | None, pixels: int) -> float:
    """Return the share of these pixels that discs of the most frequent size cover; 0 if there is none."""
    return 0.0 if size is None else size.area / pixels


def _in_parts(image: FieldPixels, parts: int, glass: FloatMap, nuclear: float | None) -> tuple[_Size | None, int]:
    """Return the size of red cells in a sample of windows, and that of the sample, both in pixels of the image."""
    side = -(-max(image.shape[:2]) // parts)
    rows, columns = (max(1, round(length / side)) for length in image.shape[:2])
    found, seen = list[_Discs](), 1
    for place in _places(rows, columns, _MOST_PARTS):
        window, factor = _part(image, parts, place)
        if min(window.shape[:2]) > LOOK_PX // 4:
            found.append(_discs(absorbed_light(window, glass), nuclear, factor))
            seen += round(window.shape[0] * window.shape[1] / factor**2)
    return _joined(found), seen


def _at_finer_levels(image: FieldPixels, glass: FloatMap, nuclear: float | None) -> _Size | None:
    """Return the size of red cells too small for a picture of the whole, from the first level that shows some."""
    parts = 2
    while parts * LOOK_PX <= 2 * max(image.shape[:2]):
        found, seen = _in_parts(image, parts, glass, nuclear)
        if _covered(found, seen) > LEAST_COVERED:
            return found
        parts *= 2
    return None


def _joined(found: list[_Discs]) -> _Size | None:
    """Return the most frequent size of the discs of several windows."""
    found = [_NO_DISCS, *found]
    diameters = np.concatenate([own.diameters for own in found])
    return _most_frequent(_Discs(diameters, np.concatenate([own.coverage for own in found])))


def _discs(picture: Absorbed, nuclear: float | None, factor: float) -> _Discs:
    """Return the discs that are no nuclei in a picture that was resized by `factor`."""
    if picture.edge is None:
        return _NO_DISCS
    chromatin = ndimage.uniform_filter(picture.chromatin, 5)
    circles = find_circles(np.minimum(picture.green, _FLAT))
    own = [circle for circle in circles if not _is_nucleus(circle, chromatin, nuclear)]
    return _Discs(
        np.array([2 * circle.radius / factor for circle in own]), np.array([circle.coverage for circle in own])
    )


def _is_nucleus(circle: Circle, chromatin: FloatMap, nuclear: float | None) -> bool:
    height, width = chromatin.shape
    row, column = min(max(int(circle.y), 0), height - 1), min(max(int(circle.x), 0), width - 1)
    return nuclear is not None and bool(chromatin[row, column] > nuclear)


def _most_frequent(discs: _Discs) -> _Size | None:
    """Return the most frequent size, found by mean shift (Comaniciu and Meer 2002, doi:10.1109/34.1000236).

    A disc counts by its diameter, so that a platelet counts less than a red cell, and by the square of its coverage.
    """
    if len(discs.diameters) == 0:
        return None
    sizes, weights = np.log(discs.diameters), discs.diameters * discs.coverage**2
    frequency = np.exp(-((sizes[:, None] - sizes) ** 2) / (2 * _WIDTH**2)) @ weights
    middle = float(sizes[np.argmax(frequency)])
    for _ in range(_SHIFTS):
        middle = float(np.average(sizes, weights=weights * _nearness(sizes, middle)))
    near = _nearness(sizes, middle)
    if near.sum() < LEAST_RED_CELLS:
        return None
    own = weights * near
    spread = max(_LEAST_SPREAD, float(np.sqrt(np.average((sizes - middle) ** 2, weights=own))))
    effective = float(own.sum() ** 2 / (own**2).sum())  # Kish 1965
    area = np.pi / 4 * float((near * discs.diameters**2).sum())
    return _Size(middle, 1.96 * spread / np.sqrt(effective), float(near.sum()), area)


def _nearness(sizes: Floats, middle: float) -> Floats:
    return np.asarray(np.exp(-((sizes - middle) ** 2) / (2 * _NEAR**2)))


def _scale_of_nuclei(picture: Absorbed, nuclear: float | None, factor: float) -> Scale | None:
    if nuclear is None:
        return None
    dark = ndimage.gaussian_filter(picture.chromatin, 1) > nuclear
    pieces = opened(np.asarray(dark), 2)
    labels, count = ndimage.label(dilated(pieces, 5))
    if count == 0:
        return None
    area = np.bincount(labels[pieces], minlength=2)[1:].max()
    um_per_px = NUCLEUS_UM * factor / float(2 * np.sqrt(area / np.pi))
    spread = float(np.exp(1.96 * _NUCLEUS_SPREAD))
    return Scale(um_per_px, um_per_px / spread, um_per_px * spread, "nuclei", 1)
