"""The certainty of a classifier on a cell compared with other cells, and the limit below which a cell is unknown.

A limit on the largest probability that is learned at one hospital does not hold at another one, where a classifier is
less certain of all cells. So each cell is compared with the other hospital's own cells, and the limit of one's own
hospital is used only where both hospitals' probabilities resemble each other.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

KNOWN_REFUSED: Final = 0.05
"""Share of one's own held-out cells that is below the limit."""
_MOST_REFUSED: Final = 2 * KNOWN_REFUSED
"""Largest share of the other hospital's cells below the limit with which the limit is used there. A share of 0.05 of
100 held-out cells has an exact 95 % interval that ends at 0.11."""
_POINTS: Final = 101


def unknown_limit(home: NDArray[np.floating], source: NDArray[np.floating]) -> float | None:
    """Return the limit: a cell whose largest probability is below it is unknown. None if the limit does not hold here.

    Args:
        home: largest probability of each of one's own held-out cells, float[M], 0..1, M at least 1.
        source: that of each of the other hospital's cells, float[N], N at least 1.
    """
    limit = float(np.quantile(home, KNOWN_REFUSED))
    return limit if float((source < limit).mean()) <= _MOST_REFUSED else None


def quantiles_of(source: NDArray[np.floating]) -> tuple[float, ...]:
    """Return quantiles of the other hospital's largest probabilities, float[N], N at least 1, for `uncertainty`."""
    return tuple(np.quantile(source.astype(np.float64), np.linspace(0, 1, _POINTS)).tolist())


def reason_unknown(predicted: str, probability: float, limit: float | None) -> str:
    """Return why a cell below the limit of `unknown_limit` is called unknown; empty above it, or without a limit."""
    is_below = limit is not None and probability < limit
    return f"it resembles {predicted} most, and not enough" if is_below else ""


def uncertainty(probability: float, quantiles: tuple[float, ...]) -> float:
    """Return the share of the other hospital's cells of which the classifier was more certain than of this one, 0..1.

    A limit of 0.95 on it always selects the 5 % least certain cells of that hospital.

    Args:
        probability: the cell's largest probability.
        quantiles: see `quantiles_of`.
    """
    return float(1.0 - np.interp(probability, quantiles, np.linspace(0, 1, len(quantiles))))
