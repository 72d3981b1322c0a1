"""Bootstrap resampling of cells or of whole patients, for intervals of statistics without a formula."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.metrics.statistics import Interval

DRAWS = 2000
_CHUNK = 250

Unit: TypeAlias = Literal["patient", "cell"]
"""The unit of the draws: whole patients, or cells within their class."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """Bootstrap draws of a set of N cells.

    If patients are known, patients are drawn with replacement, each with all of its cells, since cells of one patient
    are not independent (Field and Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). Otherwise cells are drawn with
    replacement within each class, so that all draws have the same class shares (stratified; Efron and Tibshirani 1993,
    chapter 8, doi:10.1201/9780429246593).

    Attributes:
        classes: int64[N], the true class of each cell, 0 or above.
        patients: int64[N], a number for each patient; None if patients are unknown.
        draws: number of draws.
        seed: random seed. The same seed and cells give the same draws, so that statistics are paired.

    Raises:
        ValueError: there is no cell, the lengths differ, or there are fewer than two patients.
    """

    classes: NDArray[np.int64]
    patients: NDArray[np.int64] | None = None
    draws: int = DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes.ndim != 1 or not len(self.classes):
            raise ValueError(f"expected the class of at least one cell, got shape {self.classes.shape}")
        if self.patients is None:
            return
        if self.patients.shape != self.classes.shape:
            raise ValueError(f"expected a patient for each of {len(self.classes)} cells, got {self.patients.shape}")
        if len(np.unique(self.patients)) < 2:
            raise ValueError("expected at least two patients to draw from, got one; draw cells instead")

    @property
    def unit(self) -> Unit:
        """The unit of the draws."""
        return "cell" if self.patients is None else "patient"

    def sums(self, columns: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of each column over the cells of each draw.

        Args:
            columns: float[N, M], such as 1 for each cell that is classified correctly.

        Returns:
            float64[draws, M].
        """
        if len(columns) != len(self.classes):
            raise ValueError(f"expected a row for each of {len(self.classes)} cells, got {len(columns)}")
        rng = np.random.default_rng(self.seed)
        found = np.empty((self.draws, columns.shape[1]))
        for start in range(0, self.draws, _CHUNK):
            times = self._times_drawn(rng, min(_CHUNK, self.draws - start))
            found[start : start + len(times)] = times @ columns
        return found

    def _times_drawn(self, rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
        """Return the number of times that each cell is in each draw, float64[draws, N]."""
        times = np.empty((draws, len(self.classes)))
        if self.patients is not None:
            _, place = np.unique(self.patients, return_inverse=True)
            count = int(place.max()) + 1
            return rng.multinomial(count, np.full(count, 1 / count), size=draws)[:, place].astype(np.float64)
        for label in np.unique(self.classes):
            own = np.flatnonzero(self.classes == label)
            times[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)
        return times


def score_draws(right: NDArray[np.bool_], resampling: Resampling) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracy and balanced accuracy of several runs in each draw; the draws are the same for all runs.

    If a draw of patients lacks a class, its balanced accuracy is the mean recall of the other classes.

    Args:
        right: bool[N, R], whether each run classified each cell correctly.
        resampling: draws of the N cells.

    Returns:
        Two float64[draws, R], 0..1.
    """
    labels = np.unique(resampling.classes)
    member = (resampling.classes[:, None] == labels).astype(np.float64)
    hits = (member[:, :, None] * right[:, None, :]).reshape(len(right), -1)
    sums = resampling.sums(np.concatenate([member, hits], axis=1))
    cells = sums[:, : len(labels), None]
    found = sums[:, len(labels) :].reshape(resampling.draws, len(labels), right.shape[1])
    recall = np.divide(found, cells, out=np.full_like(found, np.nan), where=cells > 0)
    accuracy: NDArray[np.float64] = found.sum(axis=1) / cells.sum(axis=1)
    balanced: NDArray[np.float64] = np.nanmean(recall, axis=1)
    return accuracy, balanced


def percentile_interval(draws: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Return the percentile interval of a statistic's draws, float64[draws].

    References:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13, doi:10.1201/9780429246593.
    """
    low, high = np.percentile(draws, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)
