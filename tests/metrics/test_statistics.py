from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, power_proportions_2indep, proportion_confint

from hemabridge.metrics.statistics import (
    holm,
    mcnemar_exact,
    mean_of_fractions_interval,
    smallest_detectable_difference,
    smallest_paired_difference,
    wilson_interval,
)

# The paper's Table 4 as counts of 92 cells, with intervals computed apart from this program.
PAPER_TABLE_4 = [
    (29, 0.229, 0.416),
    (54, 0.485, 0.682),
    (49, 0.431, 0.631),
    (42, 0.359, 0.558),
    (63, 0.584, 0.771),
    (54, 0.485, 0.682),
    (26, 0.201, 0.382),
    (51, 0.453, 0.652),
    (49, 0.431, 0.631),
    (28, 0.220, 0.405),
    (62, 0.573, 0.761),
    (49, 0.431, 0.631),
    (32, 0.258, 0.449),
    (75, 0.724, 0.881),
    (69, 0.653, 0.827),
]


@pytest.mark.parametrize(("correct", "low", "high"), PAPER_TABLE_4)
def test_wilson_interval_gives_the_intervals_of_the_papers_table_4(correct: int, low: float, high: float) -> None:
    assert wilson_interval(correct, 92) == pytest.approx((low, high), abs=0.0006)


@pytest.mark.parametrize("n", [1, 2, 15, 92, 5000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_interval_agrees_with_statsmodels(n: int, confidence: float) -> None:
    for successes in sorted({0, n // 3, n - 1, n}):
        expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
        assert wilson_interval(successes, n, confidence) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(("rescued", "broken"), [(0, 0), (1, 0), (5, 5), (10, 2), (2, 10), (43, 0), (30, 21)])
def test_mcnemar_exact_agrees_with_statsmodels(rescued: int, broken: int) -> None:
    expected = mcnemar([[7, broken], [rescued, 3]], exact=True).pvalue
    assert mcnemar_exact(rescued, broken) == pytest.approx(min(1.0, float(expected)))


def test_mcnemar_exact_by_hand() -> None:
    # One broken cell of six: 2 * (C(6,0) + C(6,1)) / 2^6.
    assert mcnemar_exact(5, 1) == pytest.approx(14 / 64)


def test_mcnemar_exact_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="rescued -1 and broken 3"):
        mcnemar_exact(-1, 3)


def test_holm_agrees_with_statsmodels() -> None:
    rng = np.random.default_rng(5)
    for size in (1, 2, 7, 40):
        p_values = [float(p) for p in rng.uniform(0, 1, size) ** 3]
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_by_hand_with_ties_and_a_cap() -> None:
    assert holm([0.9, 0.01, 0.01, 0.04]) == pytest.approx((0.9, 0.04, 0.04, 0.08))
    assert holm([0.6, 0.7]) == pytest.approx((1.0, 1.0))
    assert holm([]) == ()


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_probability(bad: float) -> None:
    with pytest.raises(ValueError, match=r"in 0\.\.1"):
        holm([0.5, bad])


@pytest.mark.parametrize("n", [20, 92, 1000])
def test_smallest_detectable_difference_has_80_percent_power_by_statsmodels(n: int) -> None:
    difference = smallest_detectable_difference(n)
    assert difference is not None
    power = power_proportions_2indep(difference, 0.5 - difference / 2, n, alpha=0.05, return_results=False)
    assert power == pytest.approx(0.8, abs=0.002)


def test_smallest_detectable_difference_of_the_paper_is_about_20_points() -> None:
    assert smallest_detectable_difference(92) == pytest.approx(0.204, abs=0.002)


def test_smallest_detectable_difference_is_none_where_nothing_can_be_shown() -> None:
    assert smallest_detectable_difference(1) is None
    with pytest.raises(ValueError, match="got 0"):
        smallest_detectable_difference(0)


def power_of_mcnemar(n: int, disagreement: float, difference: float) -> float:
    """The power of McNemar's test (normal, two-sided, 5%) by adding up all that can happen."""
    first, second = (disagreement + difference) / 2, (disagreement - difference) / 2
    power = 0.0
    for changed in range(1, n + 1):
        better = np.arange(changed + 1)
        shown = np.abs(2 * better - changed) / np.sqrt(changed) >= norm.ppf(0.975)
        power += binom.pmf(changed, n, disagreement) * binom.pmf(better, changed, first / (first + second))[shown].sum()
    return float(power)


@pytest.mark.parametrize(("n", "disagreement"), [(92, 0.3), (92, 0.6), (200, 0.2), (300, 0.5)])
def test_the_smallest_paired_difference_is_seen_four_times_in_five(n: int, disagreement: float) -> None:
    difference = smallest_paired_difference(n, disagreement)
    assert difference is not None
    assert power_of_mcnemar(n, disagreement, difference) == pytest.approx(0.8, abs=0.03)


def test_connors_sample_size_is_inverted() -> None:
    """Connor's formula (1987) gives n from the difference; worked with the usual 1.96 and 0.8416."""
    # 1.95996 * 0.54772 + 0.84162 * 0.52678 = 1.51687; its square over 0.0225
    n = (1.959964 * sqrt(0.3) + 0.841621 * sqrt(0.3 - 0.15**2)) ** 2 / 0.15**2
    assert n == pytest.approx(102.26, abs=0.01)
    assert smallest_paired_difference(102, 0.3) == pytest.approx(0.15, abs=1e-3)


def test_too_little_disagreement_shows_nothing() -> None:
    assert smallest_paired_difference(92, 0.0) is None
    assert smallest_paired_difference(92, 2 / 92) is None
    assert smallest_paired_difference(92, 1.0) is not None
    with pytest.raises(ValueError, match="share of disagreement"):
        smallest_paired_difference(0, 0.5)


@pytest.mark.parametrize(("successes", "n"), [((6, 6), (6, 6)), ((40, 31), (50, 33)), ((0, 9), (4, 17))])
def test_interval_of_a_mean_of_two_fractions_is_that_of_statsmodels(
    successes: tuple[int, int], n: tuple[int, int]
) -> None:
    # (a + b) / 2 = ((a - (1 - b)) + 1) / 2, and statsmodels has the interval of a difference (Newcombe 1998).
    low, high = confint_proportions_2indep(
        successes[0], n[0], n[1] - successes[1], n[1], method="newcomb", compare="diff"
    )
    expected = ((low + 1) / 2, (high + 1) / 2)
    assert mean_of_fractions_interval(successes, n) == pytest.approx(expected, abs=1e-9)


def test_interval_of_a_mean_of_one_fraction_is_its_own() -> None:
    assert mean_of_fractions_interval([7], [9]) == pytest.approx(wilson_interval(7, 9))
