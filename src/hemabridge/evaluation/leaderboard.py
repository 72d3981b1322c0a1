"""From the predictions of a study to its leaderboard: pure functions, no files, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from hemabridge.evaluation.comparisons import Comparison, places_of, right
from hemabridge.evaluation.leaderboard_entries import (
    Against,
    Bin,
    Calibration,
    Flips,
    LeaderboardEntry,
    SnapshotContrast,
)
from hemabridge.evaluation.paired_bootstrap import Draws, RunKey
from hemabridge.evaluation.predictions import Predictions
from hemabridge.metrics.calibration import (
    BINS,
    brier_score,
    expected_calibration_error,
    reliability,
    with_temperature,
)
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.metrics.resampling import percentile_interval
from hemabridge.metrics.selective import area_under_risk_coverage, risk_coverage
from hemabridge.metrics.statistics import holm, mcnemar_exact, smallest_paired_difference, wilson_interval

CURVE_POINTS = 20
"""Coverages at which the risk-coverage curve is kept, the last one being all cells."""


@dataclass(frozen=True)
class LeaderboardSettings:
    """What the leaderboard must know beside the predictions.

    Attributes:
        classes: names in the order of the indices.
        variants: the classifier that a variant was made from, by the variant's name.
        temperatures: fitted on cells that are not scored, by classifier.
        majority: the one commonest class of the target's training part; None if there is none.
    """

    classes: tuple[str, ...]
    variants: Mapping[str, str]
    temperatures: Mapping[str, float]
    majority: str | None


def make_leaderboard(
    runs: Sequence[Predictions], comparisons: Sequence[Comparison], draws: Draws, settings: LeaderboardSettings
) -> tuple[LeaderboardEntry, ...]:
    """Say where each run stands.

    Args:
        runs: of the source's test part.
        comparisons: of each run with the unchanged classifier on originals without a label, where there is one.
        draws: of these runs.
        settings: classes, variants, temperatures.

    Raises:
        ValueError: runs that are compared hold other cells.
    """
    against = {found.run.run: found for found in comparisons}
    flips = _all_flips([found for found in comparisons if found.run.labels_used == 0], settings)
    return tuple(_entry(run, against.get(run.run), flips.get(run.run), draws, settings) for run in runs)


def contrast_snapshots(runs: Sequence[Predictions], draws: Draws) -> tuple[SnapshotContrast, ...]:
    """Compare each snapshot with the one before it, under the same classifier with the same number of labels.

    Snapshots are taken in the order of the runs. Holm's correction runs over all contrasts.
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
    """Measure the calibration of a run, as it is and with a temperature that was fitted elsewhere."""
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
    """Count cells of other classes that re-staining turned into the class `majority` and out of it; right ones beside.

    Raises:
        ValueError: the two runs hold other cells.
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
        # A temperature belongs to the classifier on which it was fitted, before any label of the source changed it.
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
    assert first.snapshot is not None  # the caller took only runs of snapshots
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
