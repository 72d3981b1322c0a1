"""Nucleus and cell of one picture before and after: masks, areas, lobes; and spots that are new or gone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.imaging.compartments import Mask, segment
from hemabridge.imaging.standardizer import UInt8Image

Map = NDArray[np.float64]

LOBE_DEPTH: Final = 0.5
"""A lobe is what is left of a nucleus where it is deeper than this share of its deepest place."""

LOBE_SHARE: Final = 0.03
"""A lobe has at least this share of what is left."""

FEWEST_CHANGED: Final = 0.002
"""Masks are looked at only if more than color changed in this share of the pixels, a hundredth of a nucleus."""

LEAST_CHANGE: Final = 0.03
"""Lobes are counted again only if this share of the nucleus changed."""

SPOT_SHARE: Final = 0.015
"""Standard deviation of the window of a spot, as a share of the longer side."""

SPOT_STRENGTH: Final = 0.06
"""Least curvature of a spot in both directions, in units of the contrast at the spot's scale."""

PEAKEDNESS: Final = 0.2
"""And in units of what is left there: broad changes have a flat top, whose unevenness is no spot."""

ROUNDNESS: Final = 0.4
"""A spot's curvatures in the two directions differ at most so much; an edge has one of about 0."""


@dataclass(frozen=True)
class ShapeChange:
    """What became of nucleus and cell.

    Attributes:
        dice: of the nucleus masks, 0..1 (Dice 1945, doi:10.2307/1932409); 1 where there is no nucleus on either side.
        area: natural logarithm of the nucleus's area after over before, each of them plus one pixel.
        share: nucleus as a share of the cell after, minus that before, -1..1.
        lobes: lobes after minus before.
    """

    dice: float = 1.0
    area: float = 0.0
    share: float = 0.0
    lobes: float = 0.0


def shape_change(before: UInt8Image, after: UInt8Image, changed: Mask) -> ShapeChange:
    """Compare the masks before and after.

    Masks are found by color, and turn on small differences of it. So a pixel leaves or joins a mask only where more
    than color changed.

    Args:
        before: uint8[H, W, 3] RGB.
        after: of the same size.
        changed: where anything but color changed, bool[H, W].
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
    """Count the lobes of a nucleus mask bool[H, W]: the pieces that remain where it is deep. 0 without a nucleus."""
    depth = ndimage.distance_transform_edt(np.pad(nucleus, 1))
    pieces, count = ndimage.label(depth > LOBE_DEPTH * depth.max())
    if count == 0:
        return 0
    sizes = np.bincount(pieces.ravel())[1:]
    return int(np.count_nonzero(sizes >= LOBE_SHARE * sizes.sum()))


def spots(residual: Map) -> int:
    """Count round spots in a residual map float64[H, W]: granules or bubbles that are new or gone.

    Crests of the weaker curvature at one scale (Lindeberg 1998, doi:10.1023/A:1008045108935): an edge that moved
    curves across itself and not along.
    """
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
