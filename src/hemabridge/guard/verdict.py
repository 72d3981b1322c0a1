"""The verdict on each cell: its morphology is unchanged, in doubt, or changed."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.guard.morphology import Morphology
from hemabridge.guard.thresholds import Thresholds, badness

Verdict: TypeAlias = Literal["pass", "warn", "refuse"]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The verdicts of the guard on N cells.

    Attributes:
        verdicts: the verdict on each cell.
        reasons: for each cell, names of the measures beyond the limit of its verdict, the worst one first; none if it
            passes.
        severity: float64[N]; the largest distance of a measure from "unchanged" as a share of the distance at which
            it is refused. Above 1 the cell is refused.
    """

    verdicts: tuple[Verdict, ...]
    reasons: tuple[tuple[str, ...], ...]
    severity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.verdicts)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Whether each cell is refused, bool[N]."""
        return np.array([verdict == "refuse" for verdict in self.verdicts], dtype=np.bool_)

    def count(self, verdict: Verdict) -> int:
        """Return the number of cells with this verdict."""
        return self.verdicts.count(verdict)


def verdicts_of(morphology: Morphology, thresholds: Thresholds) -> Verdicts:
    """Compare the measures of each cell with the limits.

    A cell is refused if one measure is beyond its limit `refuse`, and in doubt if one is beyond `warn`. A value equal
    to a limit is not beyond it.
    """
    names = list(thresholds.limits)
    measures = morphology.measures()
    far = np.stack([badness(*measures[name]) for name in names], axis=1)
    edges = {
        edge: np.array(
            [badness(np.array(getattr(thresholds.limits[name], edge)), measures[name].bad) for name in names]
        )
        for edge in ("warn", "refuse")
    }
    shares = far / edges["refuse"]
    verdicts: list[Verdict] = []
    reasons = []
    for row in range(len(morphology)):
        verdict: Verdict = "pass"
        if (far[row] > edges["refuse"]).any():
            verdict = "refuse"
        elif (far[row] > edges["warn"]).any():
            verdict = "warn"
        verdicts.append(verdict)
        beyond = () if verdict == "pass" else np.flatnonzero(far[row] > edges[verdict])
        reasons.append(tuple(names[place] for place in sorted(beyond, key=lambda p: -shares[row, p])))
    return Verdicts(tuple(verdicts), tuple(reasons), shares.max(axis=1, initial=0.0))
