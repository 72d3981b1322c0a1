"""The paired bootstrap of a study: all runs are scored on the same draws of cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.comparisons import places_of, right
from hemabridge.evaluation.predictions import Predictions
from hemabridge.metrics.resampling import Resampling, Unit, score_draws

RunKey: TypeAlias = tuple[str, str, str, str, str | None, int]
"""`Predictions.run`."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Scores of runs in each draw.

    Attributes:
        unit: the unit of the draws, patient or cell.
        units: number of units.
        accuracy, balanced: accuracy and balanced accuracy of each run, float64[draws], 0..1.
    """

    unit: Unit
    units: int
    accuracy: Mapping[RunKey, NDArray[np.float64]]
    balanced: Mapping[RunKey, NDArray[np.float64]]


def draw_scores(runs: Sequence[Predictions], patients: Mapping[str, str] | None, seed: int) -> Draws:
    """Score runs on bootstrap draws of patients if two or more are known, else of cells within each class.

    Args:
        runs: at least one, of the same cells.
        patients: patient of each cell, by the cell's id; None if not all are known.
        seed: random seed of the draws.

    Raises:
        ValueError: the runs have different cells.
    """
    first = runs[0]
    rights = np.stack([right(run)[places_of(first, run)] for run in runs], axis=1)
    resampling = _resampling(first, patients, seed)
    accuracy, balanced = score_draws(rights, resampling)
    return Draws(
        unit=resampling.unit,
        units=len(first.ids) if resampling.patients is None else len(np.unique(resampling.patients)),
        accuracy={run.run: accuracy[:, place] for place, run in enumerate(runs)},
        balanced={run.run: balanced[:, place] for place, run in enumerate(runs)},
    )


def _resampling(run: Predictions, patients: Mapping[str, str] | None, seed: int) -> Resampling:
    if patients is None or len({patients[cell] for cell in run.ids}) < 2:
        return Resampling(run.truth, seed=seed)
    _, numbers = np.unique([patients[cell] for cell in run.ids], return_inverse=True)
    return Resampling(run.truth, numbers.astype(np.int64), seed=seed)
