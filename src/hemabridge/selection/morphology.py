"""How much of each cell's structure a re-staining keeps. The one place that knows by which measure."""

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.closeness import gradient_correlation

MEASURE = "correlation of edge strength with the original's, mean over cells"
FLOOR = 0.75
"""A snapshot that keeps less than this on average is not chosen."""


def structure_kept(before: UInt8Images, after: UInt8Images) -> NDArray[np.float64]:
    """Return for each cell how much of its structure is kept, float64[N]: 1 all of it, 0 nothing.

    Raises:
        ValueError: the stacks differ in shape or are not uint8[N, H, W, 3].
    """
    return gradient_correlation(after, before)
