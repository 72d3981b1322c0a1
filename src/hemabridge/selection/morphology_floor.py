"""Morphology measures of a snapshot: the share of cells that the guard refuses, and the structure that is kept."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.guard.morphology import compare
from hemabridge.guard.thresholds import Thresholds
from hemabridge.guard.verdict import verdicts_of
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.closeness import gradient_correlation
from hemabridge.sampling import evenly_spaced

MEASURE: Final = "correlation of edge strength with the original's, mean over cells"

MOST_REFUSED: Final = 0.25
"""A snapshot is not chosen if the guard refuses a larger share of its cells.

`hemabridge standardize` re-stains refused cells by the fallback. If it refused more than a quarter of the cells, the
measures of the snapshot would not describe the result.
"""

LEAST_KEPT: Final = 0.5
"""A snapshot that keeps less structure on average is not chosen, whatever the share of refused cells.

The guard's limits are learned from the target's cells, re-stained by the same snapshot. A snapshot that destroys these
cells too, for example by blank output, would get limits that accept it. Images of other cells keep 0.2 to 0.3.
"""

MOST_TINTED: Final = 0.05
"""A snapshot is not chosen if it draws blotches on the empty glass of a larger share of the cells.

By the normalizers that estimate no dyes 1 in 1000 cells gets so much tint (`metrics.glass_tint.TINTED`), so that 10 of
200 cells are beyond chance: they may be a whole subdomain of the site.
"""

GUARDED: Final = 100
"""At most so many cells are compared, since each takes a fraction of a second; the share is known within 10 points."""


def structure_kept(before: UInt8Images, after: UInt8Images) -> NDArray[np.float64]:
    """Return the share of each cell's structure that is kept, float64[N]: 1 for all of it, 0 for nothing.

    Raises:
        ValueError: the stacks differ in shape or are not uint8[N, H, W, 3].
    """
    return gradient_correlation(after, before)


def refused(before: UInt8Images, after: UInt8Images, limits: Thresholds) -> NDArray[np.bool_]:
    """Return which cells the morphology guard refuses, bool[N].

    Args:
        before: uint8[N, H, W, 3].
        after: the same cells re-stained.
        limits: of the re-stainer, learned from the target re-stained into itself.

    Raises:
        ImageError: the stacks differ in shape or type.
    """
    return verdicts_of(compare(before, after), limits).refused


def guarded_places(count: int) -> NDArray[np.intp]:
    """Return at most `GUARDED` positions, evenly spread over `count`."""
    return evenly_spaced(count, GUARDED)
