"""Changes of nucleus and cell: masks, areas, lobes, and spots that appeared or disappeared."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.imaging.compartments import segment
from hemabridge.imaging.masks import Mask
from hemabridge.imaging.standardizer import UInt8Image

Map = NDArray[np.float64]

LOBE_DEPTH: Final = 0.5
"""Lobes are the parts of a nucleus that are deeper than this share of its largest depth."""

LOBE_SHARE: Final = 0.03
"""Smallest share of a lobe in the area of all such parts."""

FEWEST_CHANGED: Final = 0.002
"""Share of the pixels that must change in more than color for masks to be compared; a hundredth of a nucleus."""

LEAST_CHANGE: Final = 0.03
"""Share of the nucleus that must change for its lobes to be compared."""

SPOT_SHARE: Final = 0.015
"""Standard deviation of the window of a spot, as a share of the longer side."""

SPOT_STRENGTH: Final = 0.06
"""Smallest curvature of a spot in both directions, in units of the contrast at the spot's scale."""

PEAKEDNESS: Final = 0.2
"""The same in units of the residual there: a broad change has a flat top, whose unevenness is not a spot."""

ROUNDNESS: Final = 0.4
"""Smallest ratio of a spot's curvatures in the two directions; for an edge it is about 0."""


@dataclass(frozen=True)
class ShapeChange:
    """The changes of nucleus and cell.

    Attributes:
        dice: Dice coefficient of the nucleus masks, 0..1 (Dice 1945, doi:10.2307/1932409); 1 if neither has a nucleus.
        area: natural logarithm of the nucleus's area after over before, each plus one pixel.
        share: area of the nucleus as a share of that of the cell, after minus before, -1..1.
        lobes: number of lobes, after minus before.
    """

    dice: float = 1.0
    area: float = 0.0
    share: float = 0.0
    lobes: float = 0.0


def shape_change(before: UInt8Image, after: UInt8Image, changed: Mask) -> ShapeChange:
    """Compare the masks before and after re-staining.

    Masks are found by color and depend on small differences of it. A pixel therefore leaves or joins a mask only where
    more than color changed.

    Args:
        before: the original cell, uint8[H, W, 3] RGB.
        after: the re-stained cell, of the same size.
        changed: the pixels where more than color changed, bool[H, W].
    """
    if changed.mean() < FEWEST_CHANGED:
        return ShapeChange()
    first, found = segment(before), segment(after)
    nucleus = first.nucleus ^ ((first.nucleus ^ found.nucleus) & changed)
    cell = first.cell ^ ((first.cell ^ found.cell) & changed)
    old, new = np.count_nonzero(first.nucleus), np.count_nonzero(nucleus)
    both, different = np.count_nonzero(first.nucleus & nucleus), np.count_nonzero(first.nucleus ^ nucleus)
    return ShapeChange(
        dice=2 * both / (old + new) if old + new else 1.0,
        area=float(np.log((new + 1) / (old + 1))),
        share=_share(nucleus, cell) - _share(first.nucleus, first.cell),
        lobes=float(lobes(nucleus) - lobes(first.nucleus)) if different > LEAST_CHANGE * max(old, new) else 0.0,
    )


def lobes(nucleus: Mask) -> int:
    """Return the number of lobes of a nucleus mask, bool[H, W]: its separate deep parts; 0 without a nucleus."""
    depth = ndimage.distance_transform_edt(np.pad(nucleus, 1))
    pieces, count = ndimage.label(depth > LOBE_DEPTH * depth.max())
    if count == 0:
        return 0
    sizes = np.bincount(pieces.ravel())[1:]
    return int(np.count_nonzero(sizes >= LOBE_SHARE * sizes.sum()))


def spots(residual: Map) -> int:
    """Return the number of round spots in a residual, float64[H, W]: granules or bubbles that appeared or disappeared.

    Spots are maxima of the weaker curvature at one scale (Lindeberg 1998, doi:10.1023/A:1008045108935). An edge that
    moved has no curvature along its direction.
    """
    if residual.max() <= SPOT_STRENGTH:  # curvature at a scale is at most the largest value
        return 0
    scale = max(0.7, SPOT_SHARE * max(residual.shape))
    height, across, mixed, along = (
        ndimage.gaussian_filter(residual, scale, order=order, mode="nearest", truncate=3) * scale ** sum(order)
        for order in ((0, 0), (2, 0), (1, 1), (0, 2))
    )
    middle, spread = (across + along) / 2, np.hypot((across - along) / 2, mixed)
    weak, strong = -(middle + spread), -(middle - spread)
    crest = weak == ndimage.maximum_filter(weak, 2 * round(scale) + 1)
    peaked = weak > np.maximum(SPOT_STRENGTH, PEAKEDNESS * height)
    return int(np.count_nonzero(crest & peaked & (weak > ROUNDNESS * strong)))


def _share(nucleus: Mask, cell: Mask) -> float:
    whole = np.count_nonzero(cell | nucleus)
    return np.count_nonzero(nucleus) / whole if whole else 0.0
