"""Bootstrap over cells: all answers about a cell are resampled together, whatever the reader and the arm."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.reading import Estimate, Interval
from hemabridge.metrics.resampling import Resampling, percentile_interval
from hemabridge.metrics.statistics import wilson_interval

Floats = NDArray[np.float64]

DEFINED = 0.95
"""Share of draws in which a statistic must be defined to have an interval."""

NO_WIDTH = 1e-12


def estimate(
    columns: Floats, cells: Sequence[str], statistics: Sequence[Callable[[Floats], Floats]], draws: int
) -> list[Estimate]:
    """Return statistics of sums over answers, with their percentile intervals from the same draws.

    Args:
        columns: float64[N, M], a row for each answer or picture.
        cells: the cell of each row.
        statistics: functions of sums float64[..., M] that return float64[...], NaN if undefined.
        draws: number of bootstrap draws.
    """
    whole, summed = columns.sum(axis=0), draw_sums(columns, cells, draws)
    found = []
    for statistic in statistics:
        value = float(statistic(whole))
        if np.isfinite(value):
            found.append(Estimate(value, None if summed is None else interval_of(statistic(summed))))
        else:
            found.append(Estimate(None))
    return found


def estimate_share(hits: Sequence[bool], cells: Sequence[str], draws: int) -> Estimate:
    """Return a share of answers with its interval; if it is 0 or 1, Wilson's interval with one answer for each cell.

    Resamples of equal answers are equal, so that the bootstrap interval would be a point.
    """
    if not hits:
        return Estimate(None)
    share = sum(hits) / len(hits)
    if share in (0.0, 1.0):
        n = len(set(cells))
        return Estimate(share, wilson_interval(round(share) * n, n))
    columns = np.column_stack([np.ones(len(hits)), hits])
    return estimate(columns, cells, [lambda sums: ratio(sums[..., 1], sums[..., 0])], draws)[0]


def draw_sums(columns: Floats, cells: Sequence[str], draws: int) -> Floats | None:
    """Return the sums of each draw of cells, float64[draws, M]; None for fewer than two cells.

    The same cells give the same draws, so that statistics are paired.
    """
    names, place = np.unique(np.asarray(cells), return_inverse=True)
    if len(names) < 2:
        return None
    per_cell = np.zeros((len(names), columns.shape[1]))
    np.add.at(per_cell, place, columns)
    everything = np.arange(len(names), dtype=np.int64)
    return Resampling(np.zeros_like(everything), everything, draws=draws).sums(per_cell)


def interval_of(drawn: Floats) -> Interval | None:
    """Return the percentile interval of the draws in which a statistic is defined.

    None if there are too few of them, or if all are equal, since the draws then contain no information on uncertainty.
    """
    found = drawn[np.isfinite(drawn)]
    if len(found) < DEFINED * len(drawn):
        return None
    low, high = percentile_interval(found)
    return (low, high) if high - low > NO_WIDTH else None


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide elementwise; NaN if the divisor is 0."""
    found = np.full(np.broadcast_shapes(np.shape(above), np.shape(below)), np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found
