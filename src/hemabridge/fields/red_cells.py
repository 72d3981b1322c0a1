"""Discs in an image that may be red cells, and the most frequent size of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from hemabridge.fields.circles import Circle, Floats, find_circles
from hemabridge.fields.density import Absorbed, FloatMap, Mask

RED_CELL_UM: Final = 7.5
"""Diameter of a red cell on a smear in micrometers: 7 to 8 (Bain, Blood Cells, 5th ed. 2015, chapter 3)."""

LEAST_RED_CELLS: Final = 2.2
"""Smallest number of red cells of one size that states a scale; each counts by how near it is to that size, 0..1."""

MOST_ERROR: Final = 0.2
"""Largest half of the 95 % interval of a size, in natural logarithms; beyond it red cells do not state a scale."""

SURE_RED_CELLS: Final = 12
"""Number of red cells from which nuclei are not asked whether the scale is plausible."""

_WIDTH: Final = 0.16  # of the kernel that finds the most frequent size, in natural logarithms
_NEAR: Final = 0.18  # standard deviation of the weight of sizes near it, in natural logarithms
_LEAST_SPREAD: Final = 0.06  # of the sizes of red cells: of fewer the spread may be 0 by chance
_SHIFTS: Final = 20
_FLAT: Final = 0.35  # optical density from which all is equally dark, so that edges of nuclei do not prevail


@dataclass(frozen=True)
class Discs:
    """Discs that may be red cells, each float64[N]: centers and diameters in pixels of the image, coverage by edges."""

    x: Floats
    y: Floats
    diameters: Floats
    coverage: Floats

    @classmethod
    def of(cls, circles: Sequence[Circle], factor: float = 1.0) -> "Discs":
        """Return these circles of a picture that was resized by `factor`."""
        rows = [(one.x / factor, one.y / factor, 2 * one.radius / factor, one.coverage) for one in circles]
        return cls(*np.array(rows, np.float64).reshape(-1, 4).T)

    def outside(self, mask: Mask) -> "Discs":
        """Return those whose centers are not in a mask of the image, bool[H, W]."""
        height, width = mask.shape
        row, column = np.clip(self.y.astype(np.intp), 0, height - 1), np.clip(self.x.astype(np.intp), 0, width - 1)
        return self._only(~mask[row, column])

    def near(self, diameter: float, ratio: float) -> "Discs":
        """Return those whose diameters differ from this one by at most a factor of `ratio`."""
        return self._only(np.abs(np.log(self.diameters / diameter)) <= np.log(ratio))

    def _only(self, kept: Mask) -> "Discs":
        return Discs(self.x[kept], self.y[kept], self.diameters[kept], self.coverage[kept])


@dataclass(frozen=True)
class RedCellSize:
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

    @property
    def um_per_px(self) -> float:
        """Micrometers per pixel of the image at which these discs are red cells."""
        return RED_CELL_UM / float(np.exp(self.middle))


def joined(found: Iterable[Discs]) -> RedCellSize | None:
    """Return the most frequent size of the discs of several windows."""
    own = [Discs.of([]), *found]
    return most_frequent(
        Discs(*(np.concatenate([getattr(each, name) for each in own]) for name in ("x", "y", "diameters", "coverage")))
    )


def discs_of(picture: Absorbed, nuclear: float | None, factor: float) -> Discs:
    """Return the discs that are no nuclei in a picture that was resized by `factor`."""
    if picture.edge is None:
        return Discs.of([])
    chromatin = ndimage.uniform_filter(picture.chromatin, 5)
    circles = find_circles(np.minimum(picture.green, _FLAT))
    return Discs.of([circle for circle in circles if not _is_nucleus(circle, chromatin, nuclear)], factor)


def _is_nucleus(circle: Circle, chromatin: FloatMap, nuclear: float | None) -> bool:
    height, width = chromatin.shape
    row, column = min(max(int(circle.y), 0), height - 1), min(max(int(circle.x), 0), width - 1)
    return nuclear is not None and bool(chromatin[row, column] > nuclear)


def most_frequent(discs: Discs) -> RedCellSize | None:
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
    return RedCellSize(middle, 1.96 * spread / np.sqrt(effective), float(near.sum()), area)


def _nearness(sizes: Floats, middle: float) -> Floats:
    return np.asarray(np.exp(-((sizes - middle) ** 2) / (2 * _NEAR**2)))
