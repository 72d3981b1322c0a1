from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hemabridge.evaluation.comparisons import compare, pairs_with_nothing_done, pairs_with_originals
from hemabridge.evaluation.leaderboard import (
    LeaderboardSettings,
    contrast_snapshots,
    count_flips,
    make_leaderboard,
    spread_over_seeds,
)
from hemabridge.evaluation.leaderboard_entries import LeaderboardEntry
from hemabridge.evaluation.paired_bootstrap import draw_scores
from hemabridge.evaluation.predictions import Predictions

CLASSES = ("a", "b", "c")
VARIANTS = {"net, AdaBN": "net"}
MakeRun = Callable[..., Predictions]


def settings(**changes: Any) -> LeaderboardSettings:
    fields: dict[str, Any] = {"classes": CLASSES, "variants": VARIANTS, "temperatures": {}, "majority": None}
    return LeaderboardSettings(**{**fields, **changes})


def stand(runs: list[Predictions], patients: dict[str, str] | None = None, **changes: Any) -> list[LeaderboardEntry]:
    compared = compare(pairs_with_nothing_done(runs, VARIANTS))
    return list(make_leaderboard(runs, compared, draw_scores(runs, patients, 0), settings(**changes)))


def rightness(run: Predictions) -> np.ndarray:
    return np.asarray(run.predicted == run.truth)


def test_every_run_stands_against_the_unchanged_classifier_on_originals(runs: list[Predictions]) -> None:
    compared = compare(pairs_with_nothing_done(runs, VARIANTS))
    assert [(c.run.run[2:], c.other.run[2:]) for c in compared] == [
        (run.run[2:], ("other" if run.classifier == "other" else "net", "original", None, 0))
        for run in runs
        if run.run[2:] not in (("net", "original", None, 0), ("other", "original", None, 0))
    ]
    p_values = []
    for found in compared:
        before, after = rightness(found.other), rightness(found.run)
        assert (found.rescued, found.broken) == (np.sum(~before & after), np.sum(before & ~after))
        table = [[np.sum(before & after), found.broken], [found.rescued, np.sum(~before & ~after)]]
        p_values.append(mcnemar(table, exact=True).pvalue)
    assert [c.p for c in compared] == pytest.approx(p_values)
    assert [c.p_holm for c in compared] == pytest.approx(multipletests(p_values, method="holm")[1])


def test_originals_with_the_same_labels_are_another_comparison(runs: list[Predictions], make_run: MakeRun) -> None:
    tuned = make_run(runs[0].truth, images="cyclegan", snapshot="epoch-0020", labels_used=8)
    pairs = {run.run[2:]: other.run[2:] for run, other in pairs_with_originals([*runs, tuned])}
    assert pairs["net", "cyclegan", "epoch-0020", 8] == ("net", "original", None, 8)
    assert pairs["net, AdaBN", "cyclegan", "epoch-0015", 0] == ("net, AdaBN", "original", None, 0)


def test_differences_and_their_intervals_are_paired(runs: list[Predictions]) -> None:
    board = dict(zip([run.run[2:] for run in runs], stand(runs), strict=True))
    run, other = runs[2], runs[0]
    found = board[run.run[2:]].against
    assert found is not None
    assert found.accuracy == pytest.approx(rightness(run).mean() - rightness(other).mean())
    expected = balanced_accuracy_score(run.truth, run.predicted) - balanced_accuracy_score(other.truth, other.predicted)
    assert found.balanced_accuracy == pytest.approx(expected)
    # An independent paired bootstrap, class by class.
    rng = np.random.default_rng(1)
    gain = rightness(run).astype(float) - rightness(other)
    per_class = [
        rng.choice(gain[run.truth == label], (20000, np.sum(run.truth == label))).sum(axis=1) for label in range(3)
    ]
    low, high = np.percentile(np.sum(per_class, axis=0) / 40, [2.5, 97.5])
    assert found.accuracy_interval == pytest.approx((low, high), abs=0.03)
    assert board["net", "original", None, 0].against is None


def test_a_run_against_itself_by_another_name_differs_by_nothing(make_run: MakeRun) -> None:
    predicted = [0] * 20 + [1] * 12 + [0] * 8
    twins = [make_run(predicted), make_run(predicted, images="cyclegan", snapshot="epoch-0001")]
    found = stand(twins)[1].against
    assert found is not None
    assert (found.rescued, found.broken, found.p) == (0, 0, 1.0)
    assert found.accuracy_interval == found.balanced_interval == (0.0, 0.0)
    assert found.smallest_difference is None


def test_the_interval_of_balanced_accuracy_is_that_of_independent_binomials(runs: list[Predictions]) -> None:
    run = runs[1]
    rng = np.random.default_rng(2)
    recalls = [
        rng.binomial(n, rightness(run)[run.truth == label].mean(), 40000) / n
        for label, n in enumerate(np.bincount(run.truth))
    ]
    expected = np.percentile(np.mean(recalls, axis=0), [2.5, 97.5])
    assert stand(runs)[1].balanced_interval == pytest.approx(tuple(expected), abs=0.03)


def test_known_patients_are_drawn_whole(runs: list[Predictions]) -> None:
    patients = {cell: f"patient {place % 5}" for place, cell in enumerate(runs[0].ids)}
    assert {(s.unit, s.units) for s in stand(runs, patients)} == {("patient", 5)}
    assert {(s.unit, s.units) for s in stand(runs)} == {("cell", 40)}
    assert {(s.unit, s.units) for s in stand(runs, dict.fromkeys(patients, "only one"))} == {("cell", 40)}


def test_calibration_is_that_of_the_run_and_the_temperature_only_of_label_free_ones(runs: list[Predictions]) -> None:
    board = stand(runs, temperatures={"net": 2.0})
    for run, entry in zip(runs, board, strict=True):
        exact = run.probabilities.astype(float) / run.probabilities.sum(axis=1, keepdims=True)
        expected = brier_score_loss(run.truth, exact, labels=[0, 1, 2], scale_by_half=False)
        assert entry.calibration.brier == pytest.approx(expected, abs=1e-5)
        assert sum(b.n for b in entry.calibration.bins) == 40
        assert (entry.calibration.temperature is None) == (run.classifier != "net" or run.labels_used > 0)
        assert (entry.calibration.ece_scaled is None) == (entry.calibration.temperature is None)
    # Confidence runs evenly from 0.5 to 0.9: upper ends 0.5 to 0.9.
    assert [b.upper for b in board[0].calibration.bins] == [0.5, 0.6, 0.7, 0.8, 0.9]


def test_the_risk_curve_ends_with_the_error_of_all_cells(runs: list[Predictions]) -> None:
    for run, entry in zip(runs, stand(runs), strict=True):
        coverages = [coverage for coverage, _ in entry.risk_curve]
        assert coverages == pytest.approx(np.arange(1, 21) / 20)
        surest = np.argsort(-run.probabilities.max(axis=1))
        for coverage, risk in entry.risk_curve:
            assert risk == pytest.approx(np.mean(~rightness(run)[surest[: round(40 * coverage)]]))
        assert entry.risk_curve[-1][1] == pytest.approx(1 - rightness(run).mean())


def test_flips_towards_the_majority_are_counted_and_tested(make_run: MakeRun) -> None:
    before = [0] * 10 + [1] * 10 + [1] * 12 + [2] * 8
    after = [0] * 7 + [2] * 3 + [0] * 10 + [0] * 6 + [1] * 6 + [2] * 8
    runs = [make_run(before), make_run(after, images="cyclegan", snapshot="epoch-0001")]
    # Ten cells of "a" were wrong and are right; three were right and are "c"; six of "b" were right and are "a".
    assert count_flips(runs[0], runs[1], 0) == (6, 0, 6, 10)
    found = stand(runs, majority="a")[1].flips
    assert found is not None
    assert (found.majority, found.towards, found.away, found.broken, found.rightly) == ("a", 6, 0, 6, 10)
    assert found.share == 1.0
    assert found.share_interval == pytest.approx(proportion_confint(6, 6, method="wilson"))
    assert found.p == pytest.approx(binomtest(6, 6).pvalue) == pytest.approx(2 * binom.cdf(0, 6, 0.5))
    assert stand(runs, majority="a")[0].flips is None
    assert stand(runs)[1].flips is None


def test_a_restaining_that_only_rescues_the_majority_does_not_drift(make_run: MakeRun) -> None:
    before, after = [1] * 20 + [1] * 12 + [2] * 8, [0] * 20 + [1] * 12 + [2] * 8
    found = stand([make_run(before), make_run(after, images="x", snapshot="s")], majority="a")[1].flips
    assert found is not None
    assert (found.towards, found.away, found.rightly, found.share, found.p_holm) == (0, 0, 20, None, 1.0)


def test_wrong_answers_that_become_the_majority_or_leave_it_are_the_drift(make_run: MakeRun) -> None:
    # Of "b": 5 wrong as "c" become "a", 2 right become "a"; of "c": 3 wrong as "a" leave it, 1 of them for "b".
    before = [0] * 20 + [2] * 5 + [1] * 7 + [0] * 3 + [2] * 5
    after = [0] * 20 + [0] * 5 + [0] * 2 + [1] * 5 + [1] + [2] * 7
    assert count_flips(make_run(before), make_run(after), 0) == (7, 3, 2, 0)
    found = stand([make_run(before), make_run(after, images="x", snapshot="s")], majority="a")[1].flips
    assert found is not None
    assert found.share == pytest.approx(7 / 10)
    assert found.p == pytest.approx(binomtest(7, 10).pvalue)


def test_no_flip_at_all_has_no_share(make_run: MakeRun) -> None:
    same = [0] * 40
    found = stand([make_run(same), make_run(same, images="x", snapshot="s")], majority="c")[1].flips
    assert found is not None
    assert (found.towards, found.away, found.share, found.share_interval, found.p) == (0, 0, None, None, 1.0)


def test_neighboring_snapshots_are_told_apart_or_not(runs: list[Predictions]) -> None:
    found = contrast_snapshots(runs, draw_scores(runs, None, 0))
    assert [(c.classifier, c.labels_used, c.first, c.second) for c in found] == [
        (name, 0, "epoch-0015", "epoch-0020") for name in ("net", "other", "net, AdaBN")
    ]
    for contrast, first, second in zip(found, runs[1::3], runs[2::3], strict=False):
        before, after = rightness(first), rightness(second)
        assert (contrast.first_only, contrast.second_only) == (np.sum(before & ~after), np.sum(~before & after))
        assert contrast.difference == pytest.approx(after.mean() - before.mean())
        assert contrast.interval[0] <= contrast.difference <= contrast.interval[1]
        table = [[np.sum(before & after), contrast.first_only], [contrast.second_only, np.sum(~before & ~after)]]
        assert contrast.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    expected = multipletests([c.p for c in found], method="holm")[1]
    assert [c.p_holm for c in found] == pytest.approx(expected)


def test_runs_of_other_cells_are_refused(runs: list[Predictions], make_run: MakeRun) -> None:
    stranger = make_run(runs[0].truth, classifier="third", ids=tuple(f"other-{i}" for i in range(40)))
    with pytest.raises(ValueError, match="the same cells"):
        draw_scores([*runs, stranger], None, 0)


def test_spread_is_the_mean_and_sample_deviation_over_seeds(runs: list[Predictions], make_run: MakeRun) -> None:
    again = [make_run(runs[0].truth), make_run([0] * 40)]
    found = spread_over_seeds({3: runs, 5: again[:1], 8: again[1:]}, CLASSES)
    assert list(found) == [runs[0].run]
    accuracies = [rightness(runs[0]).mean(), 1.0, 0.5]
    spread = found[runs[0].run]
    assert spread.seeds == (3, 5, 8)
    assert (spread.accuracy, spread.accuracy_sd) == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1)))
    balanced = [balanced_accuracy_score(runs[0].truth, runs[0].predicted), 1.0, 1 / 3]
    assert spread.balanced_sd == pytest.approx(np.std(balanced, ddof=1))
    assert spread_over_seeds({3: runs}, CLASSES) == {}
