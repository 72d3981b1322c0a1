"""How certain a classifier is of a cell, compared with other cells, and when a cell may be called unknown.

A limit on the largest probability that is learned at one hospital does not hold at another one, where a classifier is
less certain of all cells. So each cell is compared with the other hospital's own cells, and the limit of one's own
hospital is used only where both hospitals' probabilities resemble each other.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN: Final = "unknown"
"""The predicted class of a cell that may belong to none of the classes."""
KNOWN_REFUSED: Final = 0.05
"""So large a share of one's own held-out cells is below the limit."""
_MOST_REFUSED: Final = 2 * KNOWN_REFUSED
"""Largest share of the other hospital's cells below the limit with which it still holds there. A share of 0.05 that was
found on 100 held-out cells may be up to 0.11 (exact 95 % interval)."""
_POINTS: Final = 101


def unknown_limit(home: NDArray[np.floating], source: NDArray[np.floating]) -> float | None:
    """Return the largest probability below which a cell is called unknown, or None where no limit can be trusted.

    Args:
        home: largest probability of each of one's own held-out cells, float[M], 0..1, M at least 1.
        source: that of each of the other hospital's cells, float[N], N at least 1.
    """
    limit = float(np.quantile(home, KNOWN_REFUSED))
    return limit if float((source < limit).mean()) <= _MOST_REFUSED else None


def quantiles_of(source: NDArray[np.floating]) -> tuple[float, ...]:
    """Return what `uncertainty` needs of the other hospital's largest probabilities, float[N], N at least 1."""
    return tuple(np.quantile(source.astype(np.float64), np.linspace(0, 1, _POINTS)).tolist())


def uncertainty(probability: float, quantiles: tuple[float, ...]) -> float:
    """Return the share of the other hospital's cells of which the classifier was more certain than of this one, 0..1.

    A limit of 0.95 on it takes out 5 % of that hospital's cells, whichever they are.

    Args:
        probability: the cell's largest probability.
        quantiles: see `quantiles_of`.
    """
    return float(1.0 - np.interp(probability, quantiles, np.linspace(0, 1, len(quantiles))))
