"""The number of labels of the source that a re-staining saves."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.comparisons import ORIGINAL, right
from hemabridge.evaluation.leaderboard_entries import LabelsSaved
from hemabridge.evaluation.paired_bootstrap import Draws
from hemabridge.evaluation.predictions import Predictions


def labels_saved(runs: Sequence[Predictions], draws: Draws) -> tuple[LabelsSaved, ...]:
    """Return the labels that each snapshot saves, for classifiers fine-tuned on two or more numbers of labels.

    Args:
        runs: runs on the source's test part, with 0 and with more labels.
        draws: bootstrap scores of these runs.

    Returns:
        One item for each label-free run of such a classifier on cells that a snapshot re-stained.
    """
    found = []
    for classifier in dict.fromkeys(run.classifier for run in runs):
        own = [run for run in runs if run.classifier == classifier]
        fine_tuned = sorted((run for run in own if run.images == ORIGINAL), key=lambda run: run.labels_used)
        if len(fine_tuned) < 3 or fine_tuned[0].labels_used != 0:
            continue
        free = [run for run in own if run.snapshot is not None and run.labels_used == 0]
        found += [_labels_saved(run, fine_tuned, draws) for run in free]
    return tuple(found)


def labels_to_reach(labels: Sequence[int], accuracies: Sequence[float], wanted: float) -> float | None:
    """Return the smallest number of labels at which a learning curve, interpolated linearly, reaches an accuracy.

    Args:
        labels: numbers of labels, ascending, from 0 on.
        accuracies: the accuracy at each of them.
        wanted: the accuracy.

    Returns:
        0 to the last of `labels`; None if the curve stays below.
    """
    if accuracies[0] >= wanted:
        return float(labels[0])
    points = list(zip(labels, accuracies, strict=True))
    for (k, before), (more, after) in pairwise(points):
        if after >= wanted:
            return float(k + (more - k) * (wanted - before) / (after - before))
    return None


def _labels_saved(free: Predictions, fine_tuned: Sequence[Predictions], draws: Draws) -> LabelsSaved:
    labels = [run.labels_used for run in fine_tuned]
    curves = np.stack([draws.accuracy[run.run] for run in fine_tuned], axis=1)
    wanted = draws.accuracy[free.run]
    drawn = [labels_to_reach(labels, curve, goal) for curve, goal in zip(curves.tolist(), wanted.tolist(), strict=True)]
    means = [float(right(run).mean()) for run in fine_tuned]
    accuracy = float(right(free).mean())
    return LabelsSaved(
        classifier=free.classifier,
        images=free.images,
        snapshot=free.snapshot,
        accuracy=accuracy,
        curve=tuple(zip(labels, means, strict=True)),
        labels=labels_to_reach(labels, means, accuracy),
        interval=_interval(np.array([np.inf if found is None else found for found in drawn])),
    )


def _interval(drawn: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the 2.5th and 97.5th percentile, without interpolation; None for more labels than were tried."""
    low, high = np.percentile(drawn, [2.5, 97.5], method="inverted_cdf")
    return (None if np.isinf(low) else float(low)), (None if np.isinf(high) else float(high))
