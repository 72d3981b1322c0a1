"""Bootstrap over cells: answers about one cell stand or fall together, whoever gave them and whatever arm showed it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.reading import Estimate, Interval
from hemabridge.metrics.bootstrap import Resampling, percentile_interval

Floats = NDArray[np.float64]

DEFINED = 0.95
"""A statistic that is not defined in more than the rest of the draws has no interval."""


def estimate(columns: Floats, cells: Sequence[str], statistic: Callable[[Floats], Floats], draws: int) -> Estimate:
    """Return a statistic of sums over answers, with its percentile interval.

    Args:
        columns: float64[N, M], a row for each answer or picture.
        cells: the cell that each row is about.
        statistic: of sums float64[..., M]; gives float64[...], NaN where it is not defined.
        draws: of the bootstrap.
    """
    value = float(statistic(columns.sum(axis=0)))
    if not np.isfinite(value):
        return Estimate(None)
    summed = draw_sums(columns, cells, draws)
    return Estimate(value, None if summed is None else interval_of(statistic(summed)))


def draw_sums(columns: Floats, cells: Sequence[str], draws: int) -> Floats | None:
    """Return the sums of each draw of cells, float64[draws, M]; None for fewer than two cells.

    The same cells give the same draws: statistics of them are paired.
    """
    names, place = np.unique(np.asarray(cells), return_inverse=True)
    if len(names) < 2:
        return None
    per_cell = np.zeros((len(names), columns.shape[1]))
    np.add.at(per_cell, place, columns)
    everything = np.arange(len(names), dtype=np.int64)
    return Resampling(np.zeros_like(everything), everything, draws=draws).sums(per_cell)


def interval_of(drawn: Floats) -> Interval | None:
    """Return the percentile interval of the draws in which a statistic is defined; None where there are too few."""
    found = drawn[np.isfinite(drawn)]
    return percentile_interval(found) if len(found) >= DEFINED * len(drawn) else None


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide elementwise; NaN where there is nothing to divide by."""
    found = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found
