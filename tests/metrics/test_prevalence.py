"""Shares of classes with counting error and confusion, against other libraries and known truths."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from hemabridge.errors import InputError
from hemabridge.metrics.prevalence import (
    UNLIKE_HOME,
    binomial_limits,
    estimate_shares,
    posterior_shares,
    shortest_interval,
)


def test_binomial_limits_are_those_of_another_library():
    for count, total in [(0, 100), (5, 100), (50, 100), (100, 100), (3, 200), (120, 200)]:
        assert binomial_limits(count, total) == pytest.approx(proportion_confint(count, total, method="beta"), abs=1e-9)


@pytest.mark.parametrize(
    ("percent", "cells", "limits"),
    [
        (0, 100, (0, 4)),
        (5, 100, (1, 12)),
        (10, 100, (4, 18)),
        (50, 100, (39, 61)),
        (0, 200, (0, 2)),
        (10, 200, (6, 16)),
        (50, 200, (42, 58)),
    ],
)
def test_rounded_outwards_they_are_those_of_rumkes_table(percent, cells, limits):
    low, high = binomial_limits(percent * cells / 100, cells)
    assert (int(np.floor(100 * low)), int(np.ceil(100 * high))) == limits


def test_of_no_cells_nothing_is_known():
    assert binomial_limits(0, 0) == (0.0, 1.0)
    found = estimate_shares(np.zeros(2, np.int64), np.eye(2, dtype=np.int64) * 50)
    np.testing.assert_array_equal([found.low, found.high], [[0, 0], [1, 1]])


def test_a_perfect_classifier_changes_nothing():
    counts = np.array([120, 60, 20])
    found = estimate_shares(counts, np.eye(3, dtype=np.int64) * 100_000)
    np.testing.assert_allclose(found.share, counts / 200, atol=0.006)
    np.testing.assert_allclose(found.high - found.low, found.raw_high - found.raw_low, atol=0.015)


def test_known_confusion_is_undone():
    rates = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.05, 0.95]])
    truth = np.array([0.6, 0.3, 0.1])
    counts = np.rint(20_000 * truth @ rates).astype(np.int64)
    found = estimate_shares(counts, np.rint(100_000 * rates).astype(np.int64))
    assert np.abs(found.raw - truth).max() > 0.02
    np.testing.assert_allclose(found.share, truth, atol=0.01)


def test_fewer_home_cells_make_wider_intervals():
    rates = np.array([[0.9, 0.1], [0.2, 0.8]])
    counts = np.array([140, 60])
    few, many = (estimate_shares(counts, np.rint(n * rates).astype(np.int64)) for n in (20, 2000))
    assert np.all(few.high - few.low > 1.2 * (many.high - many.low))
    assert np.all(many.high - many.low > many.raw_high - many.raw_low)


def test_intervals_cover_the_truth_of_simulated_counts():
    rng = np.random.default_rng(4)
    truth = np.array([0.6, 0.3, 0.09, 0.01])
    rates = np.full((4, 4), 0.03) + np.eye(4) * 0.88
    inside, raw_inside = [], []
    for seed in range(30):
        home = np.stack([rng.multinomial(60, row) for row in rates])
        found = estimate_shares(rng.multinomial(200, truth @ rates), home, seed=seed)
        inside.append((found.low <= truth) & (truth <= found.high))
        raw_inside.append((found.raw_low <= truth) & (truth <= found.raw_high))
    assert 0.91 < np.mean(inside) < 0.99
    assert np.mean(raw_inside) < np.mean(inside) - 0.1


def test_discounted_rates_are_those_of_two_classes_worked_out_on_a_grid():
    counts, home, weight = np.array([14, 6]), np.array([[18, 2], [1, 19]]), 0.15
    a, b = (weight * (home[0] + 0.5)), (weight * (home[1] + 0.5))
    rng = np.random.default_rng(3)
    right, wrong = rng.beta(*a, size=400_000), rng.beta(*b, size=400_000)  # rates of being called class 0
    p = rng.beta(0.5, 0.5, size=400_000)
    likely = binom.pmf(14, 20, p * right + (1 - p) * wrong)
    mean = float(np.average(p, weights=likely))
    spread = float(np.sqrt(np.average((p - mean) ** 2, weights=likely)))
    draws = posterior_shares(counts, weight * (home + 0.5), np.zeros(2, np.int64))[:, 0]
    assert draws.mean() == pytest.approx(mean, abs=0.02)
    assert draws.std() == pytest.approx(spread, abs=0.02)
    at_home = posterior_shares(counts, home + 0.5, np.zeros(2, np.int64))[:, 0]
    assert draws.std() > at_home.std() + 0.04


@pytest.mark.slow
def test_intervals_allow_for_errors_that_home_does_not_show():
    rng = np.random.default_rng(8)
    truth, home = np.array([0.6, 0.3, 0.1]), np.eye(3, dtype=np.int64) * 80
    there = np.array([[1.0, 0.0, 0.0], [0.15, 0.85, 0.0], [0.0, 0.0, 1.0]])
    inside: dict[float, list[np.ndarray]] = {UNLIKE_HOME: [], 1.0: []}
    for seed in range(60):
        counts = rng.multinomial(200, truth @ there)
        for weight, told in inside.items():
            found = estimate_shares(counts, home, home_weight=weight, seed=seed)
            told.append((found.low <= truth) & (truth <= found.high))
    assert np.mean(inside[UNLIKE_HOME]) > 0.91
    assert np.mean(inside[1.0]) < 0.88


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.5, float("nan")])
def test_a_weight_out_of_range_is_refused(weight):
    with pytest.raises(InputError, match="weight of the cells at home"):
        estimate_shares(np.array([1, 2]), np.eye(2, dtype=np.int64), home_weight=weight)


def test_a_class_that_nobody_has_seen_may_be_absent():
    found = estimate_shares(np.array([150, 50, 0]), np.eye(3, dtype=np.int64) * 100)
    assert found.low[2] == 0.0
    assert 0.005 < found.high[2] < 0.04


def test_cells_that_an_expert_has_seen_are_not_corrected():
    rates = np.array([[30, 70], [70, 30]])
    checked = np.array([180, 20])
    found = estimate_shares(np.zeros(2, np.int64), rates, certain=checked)
    np.testing.assert_allclose(found.share, [0.9, 0.1], atol=0.006)
    np.testing.assert_allclose(found.raw, [0.9, 0.1])


def test_the_same_seed_gives_the_same_numbers():
    counts, home = np.array([30, 20]), np.array([[40, 5], [4, 30]])
    one, other, third = (estimate_shares(counts, home, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.share, other.share)
    assert np.any(one.share != third.share)


def test_shortest_interval_holds_its_share_and_is_short():
    draws = np.random.default_rng(0).exponential(size=(20_000, 1))
    low, high = shortest_interval(draws)
    assert low[0] == pytest.approx(0, abs=0.01)
    assert high[0] == pytest.approx(-np.log(0.05), rel=0.03)


def test_without_confusion_the_counting_error_is_stated_alone():
    found = estimate_shares(np.array([80, 20]), None)
    np.testing.assert_array_equal(found.share, found.raw)
    low, high = proportion_confint(20, 100, method="beta")
    assert found.low[1] == pytest.approx(low, abs=0.001)
    assert found.high[1] == pytest.approx(high, abs=0.001)


@pytest.mark.parametrize("confusion", [np.eye(3, dtype=np.int64), -np.eye(2, dtype=np.int64)])
def test_a_matrix_of_other_classes_is_refused(confusion):
    with pytest.raises(InputError, match="2 x 2"):
        estimate_shares(np.array([1, 2]), confusion)
