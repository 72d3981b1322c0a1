"""Scale of a field in micrometers per pixel, from its own red cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias

import numpy as np
from scipy import ndimage

from hemabridge.errors import ImageError
from hemabridge.fields.circles import RADII_PX
from hemabridge.fields.density import Absorbed, FloatMap, absorbed_light, nuclear_threshold, resized
from hemabridge.fields.field_image import FieldPixels
from hemabridge.fields.red_cells import MOST_ERROR, RED_CELL_UM, Discs, RedCellSize, discs_of, joined, most_frequent
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.masks import dilated, opened
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.sampling import evenly_spaced

ScaleSource: TypeAlias = Literal["red cells", "nuclei", "stated", "file", "other fields"]

NUCLEUS_UM: Final = 8.8
"""Diameter of the disc with the area of the largest nucleus of a field, in micrometers.

It is the median over two collections whose red cells are 7.5 um wide (BCCD 8.9, Raabin 8.7). The middle half of the
nuclei is within 12 and 21 % of it, so that a scale from nuclei is rough.
"""

LOOK_PX: Final = 330
"""Side in pixels of the pictures in which red cells are looked for."""

MOST_WHOLE_PX: Final = 4096
"""Longest side of an image that is looked at as a whole; in a larger one no red cell could be recognized."""

LEAST_COVERED: Final = 0.03
"""Smallest share of the area that red cells cover at a finer level; bubbles and grains cover less."""

_NUCLEUS_SPREAD: Final = 0.35
_MOST_PARTS: Final = 3  # windows in a row and in a column
_MOST_WINDOWS: Final = 5  # the same of a large image, much of which may be glass
_SPOT_PX: Final = round(0.05 * LOOK_PX)  # side of the spot of `chromatin_of`


@dataclass(frozen=True)
class Scale:
    """Scale of a field.

    Attributes:
        um_per_px: micrometers per pixel of the original image.
        low, high: 95 % interval of it; without the 7 to 8 um that red cells differ by between people.
        source: `red cells`, `nuclei`, `stated` by the user, the `file`, or the red cells of `other fields`.
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
        >>> from hemabridge.fields.field_scale import estimate_scale
        >>> estimate_scale(np.full((100, 100, 3), 240, np.uint8)) is None
        True
    """
    if max(image.shape[:2]) > MOST_WHOLE_PX:
        return _scale_of_large(image)
    glass, picture, nuclear, factor = _look_at(image)
    best = most_frequent(discs_of(picture, nuclear, factor))
    nuclei = None if best is not None and best.is_sure else _scale_of_nuclei(picture, nuclear, factor)
    is_wide = nuclei is not None and nuclei.high <= RED_CELL_UM * factor / (2 * RADII_PX[0])
    if best is None and not (is_quick and is_wide):
        best = _at_finer_levels(image, glass, nuclear)
    if best is not None and best.is_sure:
        return _stated_by(best)
    if best is None or best.error > MOST_ERROR or (nuclei is not None and _stated_by(best).um_per_px > nuclei.high):
        return nuclei  # a nucleus would be twice as wide as one is: the discs are granules or texture
    return _stated_by(best)


def discs_in(image: UInt8Image) -> Discs:
    """Return the discs in a picture of the whole image, RGB uint8[H, W, 3], that may be red cells and are no nuclei."""
    _, picture, nuclear, factor = _look_at(image)
    return discs_of(picture, nuclear, factor)


def _look_at(image: FieldPixels) -> tuple[FloatMap, Absorbed, float | None, float]:
    """Return the glass, the absorbed light and the limit of nuclei of the image at `LOOK_PX`, and its factor."""
    whole, factor = _part(image, 1, (0, 0))
    glass = background_color(whole)
    picture = absorbed_light(whole, glass)
    return glass, picture, nuclear_threshold(picture, _SPOT_PX), factor


def _scale_of_large(image: FieldPixels) -> Scale | None:
    """Return the scale of an image that is far wider than the field of an objective, from windows all over it."""
    side = max(image.shape[:2])
    parts = 2 ** int(np.ceil(np.log2(side / MOST_WHOLE_PX)))
    best, share = None, 0.0
    while parts * LOOK_PX <= 2 * side:
        windows = [window for window in _windows(image, parts) if window[2].edge is not None]
        levels = [level for _, _, own in windows if (level := nuclear_threshold(own, _SPOT_PX)) is not None]
        nuclear = float(np.median(levels)) if levels else None
        found = joined([discs_of(picture, nuclear, factor) for _, factor, picture in windows])
        seen = sum(pixels for pixels, _, _ in windows)
        if _covered(found, seen or 1) > max(share, LEAST_COVERED):
            best, share = found, _covered(found, seen)
        parts *= 2
    return _stated_by(best) if best is not None and best.error <= MOST_ERROR else None


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
    down, across = (evenly_spaced(count, most, ends=True).tolist() for count in (rows, columns))
    return list(product(down, across))


def _part(image: FieldPixels, parts: int, place: tuple[int, int]) -> tuple[UInt8Image, float]:
    """Return one of `parts` x `parts` windows at `LOOK_PX`, and the factor by which it is resized."""
    side = -(-max(image.shape[:2]) // parts)
    top, left = place[0] * side, place[1] * side
    window = image[top : top + side, left : left + side]
    factor = LOOK_PX / side
    return resized(window, factor), factor


def _covered(size: RedCellSize | None, pixels: int) -> float:
    """Return the share of these pixels that discs of the most frequent size cover; 0 if there is none."""
    return 0.0 if size is None else size.area / pixels


def _in_parts(image: FieldPixels, parts: int, glass: FloatMap, nuclear: float | None) -> tuple[RedCellSize | None, int]:
    """Return the size of red cells in a sample of windows, and that of the sample, both in pixels of the image."""
    side = -(-max(image.shape[:2]) // parts)
    rows, columns = (max(1, round(length / side)) for length in image.shape[:2])
    found, seen = list[Discs](), 1
    for place in _places(rows, columns, _MOST_PARTS):
        window, factor = _part(image, parts, place)
        if min(window.shape[:2]) > LOOK_PX // 4:
            found.append(discs_of(absorbed_light(window, glass), nuclear, factor))
            seen += round(window.shape[0] * window.shape[1] / factor**2)
    return joined(found), seen


def _at_finer_levels(image: FieldPixels, glass: FloatMap, nuclear: float | None) -> RedCellSize | None:
    """Return the size of red cells too small for a picture of the whole, from the first level that shows some."""
    parts = 2
    while parts * LOOK_PX <= 2 * max(image.shape[:2]):
        found, seen = _in_parts(image, parts, glass, nuclear)
        if _covered(found, seen) > LEAST_COVERED:
            return found
        parts *= 2
    return None


def _stated_by(size: RedCellSize) -> Scale:
    """Return the scale at which these discs are red cells."""
    um_per_px = size.um_per_px
    low, high = um_per_px * np.exp(-size.error), um_per_px * np.exp(size.error)
    return Scale(um_per_px, float(low), float(high), "red cells", round(size.count))


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
