"""One scale for the fields of one microscope, from the red cells of all of them.

The red cells of one field state its scale within about 5 %, if they are many, and are wrong by half at worst if they
are few: too few, or out of focus, or not red cells at all. The fields of a folder are of one microscope as a rule, and
their red cells together state its scale. Fields of another magnification have red cells of another size; where they are
many, these fields form a group of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtri

from hemabridge.fields.circles import Floats
from hemabridge.fields.density import Mask
from hemabridge.fields.field_scale import Scale

SURE_RED_CELLS: Final = 8
"""Number of red cells whose size is taken rather than what a file or other fields state."""

LEAST_OTHER: Final = 5
"""Number of red cells from which a field may be of another magnification.

The scales of the 783 fields of BCCD and Raabin-WBC with so many are within a factor of 1.26 of that of their
microscope. Of fewer red cells, scales were up to 1.75 times too small.
"""

MOST_RATIO: Final = 1.4
"""Largest ratio of two scales at which both may be of one microscope; red cells of people differ by less."""

REACH: Final = 1.2
"""Largest ratio of the scale of a field to that of its microscope at which it takes part in the mean.

Beyond it a remark says that the two differ.
"""

SPREAD_RED_CELLS: Final = 10
"""Number of red cells from which a field says whether there are several microscopes: its scale is within 0.1."""

USUAL_SPREAD: Final = 0.045
"""Standard deviation of the scales of such fields of one microscope, in natural logarithms.

BCCD has 0.034 and Raabin-WBC 0.040; two equal halves a factor of 1.15 apart have 0.08.
"""

MOST_LUCK: Final = 0.01
"""Probability by which fields of one microscope may differ by more, by a chi-squared test of that deviation."""

LEAST_SURE: Final = 4
"""Number of such fields from which their standard deviation is looked at."""

UNUSUAL: Final = 10
"""One in so many of them is left out, the farthest first: discs may be something else than red cells."""

MOST_WEIGHT: Final = 20
"""Number of red cells beyond which a field does not weigh more."""

LEAST_SPREAD: Final = 0.03
"""Smallest standard deviation of the scales of single fields: of few fields it may be 0 by chance."""

MIXED: Final = (
    "the red cells of these fields differ by more than those of one microscope, so its own scale was taken; put fields "
    "of each microscope into a folder of their own"
)

SEVERAL: Final = "its red cells do not say which magnification it has of those in this folder"

_SHIFTS: Final = 20


@dataclass(frozen=True)
class PooledScale:
    """The scale with which a field is searched, and what to remark on it; mostly nothing."""

    scale: Scale | None
    remark: str = ""


@dataclass(frozen=True)
class Microscope:
    """Fields of one magnification.

    Attributes:
        um_per_px: micrometers per pixel by the red cells of all these fields.
        error: half of the 95 % interval of it, in natural logarithms.
        is_mixed: whether these are fields of several microscopes after all, so that no scale holds for all.
        fields: number of fields whose red cells take part.
        red_cells: number of these cells.
    """

    um_per_px: float
    error: float
    is_mixed: bool
    fields: int
    red_cells: int

    def is_near(self, um_per_px: float, ratio: float) -> bool:
        """Return whether a scale differs from this one by at most a factor of `ratio`."""
        return bool(abs(np.log(um_per_px / self.um_per_px)) <= np.log(ratio))

    def scale(self, own: Scale) -> Scale:
        """Return the scale of a field, whose own red cells are named if they agree."""
        low, high = self.um_per_px * np.exp(-self.error), self.um_per_px * np.exp(self.error)
        if own.source == "red cells" and self.is_near(own.um_per_px, REACH):
            return Scale(self.um_per_px, float(low), float(high), "red cells", own.cells)
        return Scale(self.um_per_px, float(low), float(high), "other fields", self.red_cells)


def microscopes_of(own: Sequence[Scale | None]) -> list[Microscope]:
    """Return the magnifications of fields by their red cells, that of the most fields first.

    Args:
        own: the scale of each field by its file or its cells; None if it is unknown.
    """
    voters = [one for one in own if one is not None and one.source == "red cells" and not one.is_rough]
    sizes = np.log([one.um_per_px for one in voters])
    weights = np.array([min(one.cells, MOST_WEIGHT) for one in voters], np.float64)
    left = np.array([one.cells >= LEAST_OTHER for one in voters], np.bool_)
    found: list[Microscope] = []
    if voters and not left.any():
        left[_densest(sizes, weights)] = True  # they are one group
    while left.any():
        start = _densest(sizes, np.where(left, weights, 0.0))
        middle = _middle(sizes, weights, sizes[start])
        left &= ~_near(sizes, middle, MOST_RATIO)
        left[start] = False
        if not any(one.is_near(float(np.exp(middle)), MOST_RATIO) for one in found):
            found.append(_microscope(voters, sizes, weights, middle))
    return sorted(found, key=lambda one: -one.fields)


def pooled_scales(own: Sequence[Scale | None]) -> list[PooledScale]:
    """Return the scale with which each field is searched: that of its microscope.

    A field whose file states the scale keeps its own, and so does one whose microscope cannot be told apart from
    another one. A field of unknown scale stays so: it has neither red cells nor nuclei, and a lone red cell on glass
    would pass for a nucleus.

    Args:
        own: as for `microscopes_of`.
    """
    found = microscopes_of(own)
    return [_pooled(one, found) for one in own]


def _pooled(own: Scale | None, found: Sequence[Microscope]) -> PooledScale:
    if not found or own is None or own.source in ("file", "stated"):
        return PooledScale(own)
    if len(found) > 1 and own.source != "red cells":
        return PooledScale(own, f"{SEVERAL}: {', '.join(f'{one.um_per_px:.3g}' for one in found)} um per pixel")
    nearest = min(found, key=lambda one: abs(np.log(one.um_per_px / own.um_per_px)))
    if nearest.is_mixed:
        return PooledScale(own, MIXED)
    if nearest.fields == 1 and own.um_per_px == nearest.um_per_px:
        return PooledScale(own, _of_other(nearest, found))
    said = _far(own, nearest)
    return PooledScale(nearest.scale(own), "; ".join(filter(None, (said, _of_other(nearest, found)))))


def _far(own: Scale, pooled: Microscope) -> str:
    if pooled.is_near(own.um_per_px, REACH):
        return ""
    cells = f"{own.cells} red cells" if own.source == "red cells" else own.source
    return f"its own {cells} state {own.um_per_px:.3g} um per pixel; the scale of the other fields was taken"


def _of_other(own: Microscope, found: Sequence[Microscope]) -> str:
    most = found[0]
    if own is most:
        return ""
    return f"another magnification than most fields have, whose red cells state {most.um_per_px:.3g} um per pixel"


def _microscope(voters: Sequence[Scale], sizes: Floats, weights: Floats, middle: float) -> Microscope:
    near = _near(sizes, middle, MOST_RATIO)
    own = [one for one, is_near in zip(voters, near, strict=True) if is_near]
    count, red_cells = len(own), sum(one.cells for one in own)
    if count == 1:
        return Microscope(own[0].um_per_px, float(np.log(own[0].high / own[0].low) / 2), False, 1, red_cells)
    away, weighs = sizes[near] - middle, weights[near]
    spread = max(LEAST_SPREAD, float(np.sqrt(np.average(away**2, weights=weighs))))
    effective = float(weighs.sum() ** 2 / (weighs**2).sum())  # Kish 1965
    rounded = float(f"{np.exp(middle):.3g}")  # a further field seldom changes it, so that no other is searched again
    is_mixed = _is_mixed(away[[one.cells >= SPREAD_RED_CELLS for one in own]])
    return Microscope(rounded, float(1.96 * spread / np.sqrt(effective)), is_mixed, count, red_cells)


def _is_mixed(away: Floats) -> bool:
    """Return whether scales differ from their middle by more than those of one microscope (a chi-squared test)."""
    if len(away) < LEAST_SURE:
        return False
    kept = np.sort(np.abs(away))[: len(away) - len(away) // UNUSUAL]
    return float(np.sum((kept / USUAL_SPREAD) ** 2)) > float(chdtri(len(kept) - 1, MOST_LUCK))


def _densest(sizes: Floats, weights: Floats) -> int:
    """Return the place of the scale with the most weight within `REACH`, among those of a weight above 0."""
    near = np.abs(sizes[:, None] - sizes) <= np.log(REACH)
    return int(np.argmax(np.where(weights > 0, near @ weights, -1.0)))


def _middle(sizes: Floats, weights: Floats, start: float) -> float:
    """Return the weighted mean of the scales within `REACH` of it: a mean shift (Comaniciu and Meer 2002)."""
    middle = start
    for _ in range(_SHIFTS):
        near = _near(sizes, middle, REACH)
        middle = float(np.average(sizes[near], weights=weights[near]))
    return middle


def _near(sizes: Floats, middle: float, ratio: float) -> Mask:
    return np.asarray(np.abs(sizes - middle) <= np.log(ratio))
