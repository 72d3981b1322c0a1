"""The leaderboard of a study from its predictions: pure functions, without files and PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hemabridge.evaluation.comparisons import Comparison, places_of, right
from hemabridge.evaluation.leaderboard_entries import (
    Against,
    Bin,
    Calibration,
    Flips,
    LeaderboardEntry,
    SeedSpread,
    SnapshotContrast,
)
from hemabridge.evaluation.paired_bootstrap import Draws, RunKey
from hemabridge.evaluation.predictions import Predictions
from hemabridge.metrics.classification import accuracy, balanced_accuracy
from hemabridge.metrics.confidence import (
    BINS,
    area_under_risk_coverage,
    brier_score,
    expected_calibration_error,
    reliability,
    risk_coverage,
    with_temperature,
)
from hemabridge.metrics.resampling import percentile_interval
from hemabridge.metrics.statistics import holm, mcnemar_exact, smallest_paired_difference, wilson_interval

CURVE_POINTS = 20
"""Number of coverages at which the risk-coverage curve is stored; the last one is all cells."""


@dataclass(frozen=True)
class LeaderboardSettings:
    """Inputs of the leaderboard beside the predictions.

    Attributes:
        classes: class names in the order of the indices.
        variants: the classifier from which a variant was made, by the variant's name.
        temperatures: temperatures by classifier, fitted on cells that are not scored.
        majority: the most frequent class of the target's training part; None if it is not unique.
    """

    classes: tuple[str, ...]
    variants: Mapping[str, str]
    temperatures: Mapping[str, float]
    majority: str | None


def make_leaderboard(
    runs: Sequence[Predictions], comparisons: Sequence[Comparison], draws: Draws, settings: LeaderboardSettings
) -> tuple[LeaderboardEntry, ...]:
    """Return the leaderboard entry of each run.

    Args:
        runs: runs on the source's test part.
        comparisons: comparisons of runs with the unchanged classifier on originals without labels.
        draws: bootstrap scores of these runs.
        settings: classes, variants, temperatures.

    Raises:
        ValueError: runs that are compared have different cells.
    """
    against = {found.run.run: found for found in comparisons}
    flips = _all_flips([found for found in comparisons if found.run.labels_used == 0], settings)
    return tuple(_entry(run, against.get(run.run), flips.get(run.run), draws, settings) for run in runs)


def contrast_snapshots(runs: Sequence[Predictions], draws: Draws) -> tuple[SnapshotContrast, ...]:
    """Compare each snapshot with the previous one, with the same classifier and number of labels.

    The order of the snapshots is that of the runs. Holm's correction is over all contrasts.
    """
    groups: dict[tuple[str, str, int], list[Predictions]] = {}
    for run in runs:
        if run.snapshot is not None:
            groups.setdefault((run.classifier, run.images, run.labels_used), []).append(run)
    pairs = [pair for group in groups.values() for pair in pairwise(group)]
    counts = [_only(first, second) for first, second in pairs]
    p_values = [mcnemar_exact(*count) for count in counts]
    corrected = holm(p_values)
    return tuple(
        _contrast(pair, count, (p, p_holm), draws)
        for pair, count, p, p_holm in zip(pairs, counts, p_values, corrected, strict=True)
    )


def calibrate(run: Predictions, temperature: float | None) -> Calibration:
    """Measure the calibration of a run, without and with a temperature that was fitted on other cells."""
    scaled = None if temperature is None else with_temperature(run.probabilities, temperature)
    bins = reliability(run.probabilities, run.truth)
    return Calibration(
        ece=expected_calibration_error(run.probabilities, run.truth),
        brier=brier_score(run.probabilities, run.truth),
        bins=tuple(
            Bin(round((place + 1) / BINS, 6), found.n, found.confidence, found.accuracy)
            for place, found in enumerate(bins)
            if found is not None
        ),
        temperature=temperature,
        ece_scaled=None if scaled is None else expected_calibration_error(scaled, run.truth),
        brier_scaled=None if scaled is None else brier_score(scaled, run.truth),
    )


class FlipCounts(NamedTuple):
    """Counts of `hemabridge.evaluation.leaderboard_entries.Flips`."""

    towards: int
    away: int
    broken: int
    rightly: int


def count_flips(original: Predictions, restained: Predictions, majority: int) -> FlipCounts:
    """Count cells of other classes whose prediction re-staining changed to the class `majority` or from it.

    Raises:
        ValueError: the two runs have different cells.
    """
    said = original.predicted[places_of(restained, original)]
    before, after, foreign = said == majority, restained.predicted == majority, restained.truth != majority
    towards = ~before & after & foreign
    return FlipCounts(
        towards=int(towards.sum()),
        away=int((before & ~after & foreign).sum()),
        broken=int((towards & (said == restained.truth)).sum()),
        rightly=int((~before & after & ~foreign).sum()),
    )


def _entry(
    run: Predictions, found: Comparison | None, flips: Flips | None, draws: Draws, settings: LeaderboardSettings
) -> LeaderboardEntry:
    is_right, confidence = right(run), run.probabilities.max(axis=1)
    risks = risk_coverage(confidence, is_right)
    n = len(run.ids)
    steps = sorted({max(1, round(n * step / CURVE_POINTS)) for step in range(1, CURVE_POINTS + 1)})
    return LeaderboardEntry(
        site=run.site,
        classifier=run.classifier,
        images=run.images,
        snapshot=run.snapshot,
        labels_used=run.labels_used,
        variant_of=settings.variants.get(run.classifier, run.classifier),
        unit=draws.unit,
        units=draws.units,
        accuracy_interval=percentile_interval(draws.accuracy[run.run]),
        balanced_interval=percentile_interval(draws.balanced[run.run]),
        against=None if found is None else _against(found, draws),
        # A temperature is valid for the classifier before fine-tuning on labels of the source.
        calibration=calibrate(run, settings.temperatures.get(run.classifier) if run.labels_used == 0 else None),
        risk=area_under_risk_coverage(confidence, is_right),
        risk_curve=tuple((step / n, float(risks[step - 1])) for step in steps),
        flips=flips,
    )


def _against(found: Comparison, draws: Draws) -> Against:
    run, other = found.run, found.other
    classes, n = run.probabilities.shape[1], len(run.ids)
    return Against(
        rescued=found.rescued,
        broken=found.broken,
        p=found.p,
        p_holm=found.p_holm,
        accuracy=(found.rescued - found.broken) / n,
        accuracy_interval=percentile_interval(draws.accuracy[run.run] - draws.accuracy[other.run]),
        balanced_accuracy=balanced_accuracy(run.truth, run.predicted, classes)
        - balanced_accuracy(other.truth, other.predicted, classes),
        balanced_interval=percentile_interval(draws.balanced[run.run] - draws.balanced[other.run]),
        smallest_difference=smallest_paired_difference(n, (found.rescued + found.broken) / n),
    )


def _all_flips(comparisons: Sequence[Comparison], settings: LeaderboardSettings) -> dict[RunKey, Flips]:
    if settings.majority is None:
        return {}
    label = settings.classes.index(settings.majority)
    counts = [count_flips(found.other, found.run, label) for found in comparisons]
    p_values = [mcnemar_exact(count.towards, count.away) for count in counts]
    corrected = holm(p_values)
    return {
        found.run.run: _flips(settings.majority, count, p, p_holm)
        for found, count, p, p_holm in zip(comparisons, counts, p_values, corrected, strict=True)
    }


def _flips(majority: str, counts: FlipCounts, p: float, p_holm: float) -> Flips:
    changed = counts.towards + counts.away
    return Flips(
        majority=majority,
        **counts._asdict(),
        share=counts.towards / changed if changed else None,
        share_interval=wilson_interval(counts.towards, changed) if changed else None,
        p=p,
        p_holm=p_holm,
    )


def _only(first: Predictions, second: Predictions) -> tuple[int, int]:
    before, now = right(first)[places_of(second, first)], right(second)
    return int((before & ~now).sum()), int((now & ~before).sum())


def _contrast(
    pair: tuple[Predictions, Predictions], only: tuple[int, int], p: tuple[float, float], draws: Draws
) -> SnapshotContrast:
    first, second = pair
    assert first.snapshot is not None  # the caller takes only runs of snapshots
    assert second.snapshot is not None
    n = len(second.ids)
    return SnapshotContrast(
        classifier=second.classifier,
        labels_used=second.labels_used,
        images=second.images,
        first=first.snapshot,
        second=second.snapshot,
        n=n,
        first_only=only[0],
        second_only=only[1],
        difference=(only[1] - only[0]) / n,
        interval=percentile_interval(draws.accuracy[second.run] - draws.accuracy[first.run]),
        p=p[0],
        p_holm=p[1],
        smallest_difference=smallest_paired_difference(n, sum(only) / n),
    )


def spread_over_seeds(runs: Mapping[int, Sequence[Predictions]], classes: Sequence[str]) -> dict[RunKey, SeedSpread]:
    """Return mean and sample standard deviation of each run that all seeds have; empty for one seed.

    Args:
        runs: runs by seed; runs with the same key have the same cells.
        classes: class names in the order of the indices.
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
