"""Changes by re-staining: eight measures of morphology, which a color map does not affect, and the tint of glass."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import ImageError
from hemabridge.guard.leftover import leftover
from hemabridge.guard.shapes import shape_change, spots
from hemabridge.guard.structure import edge_displacement, structure_ssim
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.imaging.threads import ONE_BLAS_THREAD
from hemabridge.metrics.glass_tint import glass_tint

Values: TypeAlias = NDArray[np.float64]
Bad: TypeAlias = Literal["low", "high", "either"]

COLOR_ALONE: Final = 0.10
"""Residual of a pixel, in units of the contrast, below which only its color changed."""


class Measure(NamedTuple):
    """One measure of all cells, float64[N], and the direction that is bad; for `either` it is the distance from 0."""

    values: Values
    bad: Bad


BAD: Final[Mapping[str, Bad]] = MappingProxyType(
    {
        "nucleus_dice": "low",
        "nucleus_area_change": "either",
        "nucleus_share_change": "either",
        "lobe_change": "either",
        "edge_displacement": "high",
        "structure_ssim": "low",
        "residual": "high",
        "granule_change": "high",
        "glass_tint": "high",
    }
)
"""All measures by name, with the direction that is bad."""


@dataclass(frozen=True, eq=False)
class Morphology:
    """The changes of N cells that a re-staining must not make; each attribute is float64[N], finite.

    Changes of masks and edges count only where the residual of the best global color map is above `COLOR_ALONE`.

    Attributes:
        nucleus_dice: Dice coefficient of the nucleus masks, 0..1; 1 unchanged.
        nucleus_area_change: natural logarithm of the nucleus's area, after over before.
        nucleus_share_change: area of the nucleus as a share of that of the cell, after minus before, -1..1.
        lobe_change: number of lobes of the nucleus, after minus before.
        edge_displacement: displacement of edges, as a share of the picture's longer side.
        structure_ssim: SSIM of the luminance at equal tones, -1..1; 1 unchanged.
        residual: residual of the best global color map in the worst places, in units of the contrast; 0 unchanged.
        granule_change: number of spots that appeared or disappeared.
        glass_tint: chroma of blotches on empty glass that had none, in units of CIE Lab; 0 unchanged. A color map can
            draw them, so the other measures do not see them.
    """

    nucleus_dice: Values
    nucleus_area_change: Values
    nucleus_share_change: Values
    lobe_change: Values
    edge_displacement: Values
    structure_ssim: Values
    residual: Values
    granule_change: Values
    glass_tint: Values

    def __len__(self) -> int:
        return len(self.residual)

    def measures(self) -> dict[str, Measure]:
        """Return every measure by name, with the direction that is bad."""
        return {field.name: Measure(getattr(self, field.name), BAD[field.name]) for field in fields(self)}


@ONE_BLAS_THREAD
def compare(before: UInt8Images, after: UInt8Images) -> Morphology:
    """Measure the changes of each cell.

    Args:
        before: the original cells, uint8[N, H, W, 3] RGB; N may be 0.
        after: the re-stained cells, of the same shape.

    Raises:
        ImageError: an array has another type or shape, or the two shapes differ.
    """
    _check(before, after)
    rows = [_compare_one(own, other) for own, other in zip(before, after, strict=True)]
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), len(BAD)).T
    return Morphology(**dict(zip(BAD, columns, strict=True)))


def _compare_one(before: UInt8Image, after: UInt8Image) -> tuple[float, ...]:
    """Return the measures in the order of `BAD`."""
    left = leftover(before, after)
    changed = left.residual > COLOR_ALONE
    shape = shape_change(left.before, left.after, changed)
    moved = edge_displacement(left.before, left.after, changed)
    kept = structure_ssim(left.before, left.after)
    tint = glass_tint(before, after)
    spotted = float(spots(left.residual))
    return shape.dice, shape.area, shape.share, shape.lobes, moved, kept, left.score, spotted, tint


def _check(before: UInt8Images, after: UInt8Images) -> None:
    for name, images in (("before", before), ("after", after)):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
            raise ImageError(f"{name}: expected RGB uint8[N, H, W, 3], got {images.dtype}{list(images.shape)}")
    if before.shape != after.shape:
        raise ImageError(f"expected two stacks of the same cells, got {before.shape} before and {after.shape} after")
