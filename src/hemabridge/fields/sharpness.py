"""Sharpness of one cell: the width of the edge of its nucleus, and whether it is too wide for a class to be certain.

A blurred cell may lie in a field that is sharp elsewhere, where the smear is thick or the cell is a little deeper.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.fields.density import Absorbed, Mask

MOST_EDGE_UM: Final = 1.6
"""Largest width of the edge of a sharp cell's nucleus; `benchmarks/blurred_cells.py` says how it was chosen."""

BLURRED: Final = "blurred: "
"""First words of the reason of a cell that is too blurred."""

_SMOOTH_UM: Final = 0.15  # of the noise of a camera, before the slope of an edge is measured
_REACH_UM: Final = 1.5  # around the nucleus
_STEEPEST: Final = 0.99  # quantile of the slopes that stands for the edge


def nucleus_edge_um(picture: Absorbed, nucleus: tuple[NDArray[np.int64], NDArray[np.int64]], um: float) -> float:
    """Return the width of the edge of a nucleus: its mean chromatin index, divided by the steepest slopes at it.

    Args:
        picture: optical densities, each float32[H, W].
        nucleus: rows and columns of its pixels, int64[N] each, N at least 1.
        um: side of a pixel in micrometers.
    """
    reach = int(np.ceil(2 * _REACH_UM / um))
    rows, columns = (slice(max(0, int(one.min()) - reach), int(one.max()) + 1 + reach) for one in nucleus)
    plane = picture.chromatin[rows, columns]
    mask: Mask = np.zeros(plane.shape, np.bool_)
    mask[nucleus[0] - rows.start, nucleus[1] - columns.start] = True
    near = ndimage.distance_transform_edt(~mask) * um <= _REACH_UM
    smooth = ndimage.gaussian_filter(plane, _SMOOTH_UM / um)
    slope: NDArray[np.float32] = np.hypot(*np.gradient(smooth)) / um
    steepest = max(float(np.quantile(slope[near], _STEEPEST)), 1e-3)  # never 0
    return float(plane[mask].mean()) / steepest


def reason_blurred(edge_um: float | None) -> str:
    """Return why a cell whose nucleus has such an edge has no certain class; empty if it is sharp, or None."""
    if edge_um is None or edge_um <= MOST_EDGE_UM:
        return ""
    return f"{BLURRED}the edge of its nucleus is {edge_um:.1f} um wide, which is more than {MOST_EDGE_UM} um"
