"""Control charts, which find a change in the level of a series of numbers."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

WEIGHT: Final = 0.2
WIDTH: Final = 2.962
"""With `WEIGHT`, a two-sided chart gives one false alarm in about 500 points of a normal series without change: Lucas &
Saccucci (1990), Table 3."""

SHEWHART: Final = 4.0
"""A single value above this gives an alarm. False alarms stay rare with this additional limit (their section 5)."""


def ewma(
    values: ArrayLike, *, weight: float = WEIGHT, start: float = 0.0, floor: float = -np.inf
) -> NDArray[np.float64]:
    """Return the exponentially weighted moving average z_t = weight x_t + (1 - weight) z_(t-1), float64[T].

    Roberts (1959), Technometrics 1(3), doi:10.1080/00401706.1959.10489860.

    Args:
        values: x_1 ... x_T.
        weight: weight of the newest value, above 0 and at most 1.
        start: z_0.
        floor: lower bound of z_t, so that a rise after many low values is found as early as any other.
    """
    averages, last = [], start
    for value in np.asarray(values, np.float64):
        last = max(floor, weight * float(value) + (1 - weight) * last)
        averages.append(last)
    return np.array(averages)


def ewma_limits(count: int, *, weight: float = WEIGHT, width: float = WIDTH) -> NDArray[np.float64]:
    """Return the control limits of the EWMA of `count` values, in standard deviations of one value, float64[count].

    width sqrt(weight / (2 - weight) (1 - (1 - weight)^(2 t))): Lucas & Saccucci (1990), Technometrics 32(1), eq. 2,
    doi:10.1080/00401706.1990.10484583.
    """
    steps = np.arange(1, count + 1)
    return np.asarray(width * np.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * steps))))


def normal_scores(distances: ArrayLike, usual: ArrayLike) -> NDArray[np.float64]:
    """Return distances as standard scores of usual distances, float64[N], on a scale where those are about normal.

    Squared distances are about chi-square distributed, and their cube roots are about normal: Wilson & Hilferty (1931),
    doi:10.1073/pnas.17.12.684.

    Args:
        distances: float[N], at least 0.
        usual: float[M], usual distances, at least two different ones.
    """
    raised, normal = np.asarray(distances, np.float64) ** (2 / 3), np.asarray(usual, np.float64) ** (2 / 3)
    return np.asarray((raised - normal.mean()) / normal.std(ddof=1))
