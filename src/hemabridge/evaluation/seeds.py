"""The same study with several seeds: mean and spread of each run."""

from collections.abc import Mapping, Sequence

import numpy as np

from hemabridge.evaluation.leaderboard_entries import SeedSpread
from hemabridge.evaluation.paired_bootstrap import RunKey
from hemabridge.evaluation.predictions import Predictions
from hemabridge.metrics.classification import accuracy, balanced_accuracy


def spread_over_seeds(runs: Mapping[int, Sequence[Predictions]], classes: Sequence[str]) -> dict[RunKey, SeedSpread]:
    """Return mean and sample standard deviation of every run that each of the seeds has; nothing for one seed.

    Args:
        runs: by seed; those of the same name are on the same cells.
        classes: names in the order of the indices.
    """
    if len(runs) < 2:
        return {}
    by_key = [{run.run: run for run in found} for found in runs.values()]
    shared = [key for key in by_key[0] if all(key in found for found in by_key)]
    return {key: _spread(tuple(runs), [found[key] for found in by_key], len(classes)) for key in shared}


def _spread(seeds: tuple[int, ...], runs: Sequence[Predictions], classes: int) -> SeedSpread:
    accuracies = [accuracy(run.truth, run.predicted) for run in runs]
    balanced = [balanced_accuracy(run.truth, run.predicted, classes) for run in runs]
    return SeedSpread(
        seeds=seeds,
        accuracy=float(np.mean(accuracies)),
        accuracy_sd=float(np.std(accuracies, ddof=1)),
        balanced_accuracy=float(np.mean(balanced)),
        balanced_sd=float(np.std(balanced, ddof=1)),
    )
