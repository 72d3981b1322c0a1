import numpy as np
import pytest
from scipy.stats import chi2

from hemabridge.domain.control_chart import SHEWHART, ewma, ewma_limits, normal_scores

NIST = [52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5, 49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4]
"""NIST/SEMATECH e-Handbook of Statistical Methods, section 6.3.2.4: the example of an EWMA chart."""


def test_the_average_is_that_of_the_handbooks_example() -> None:
    expected = [50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33, 50.11, 49.36, 49.52, 50.05, 49.38]
    assert ewma(NIST, weight=0.3, start=50.0)[:15] == pytest.approx(expected, abs=0.006)


def test_the_limits_rise_to_that_of_the_handbook() -> None:
    limits = 2.0539 * ewma_limits(200, weight=0.3, width=3.0)
    assert limits[-1] == pytest.approx(52.5884 - 50, abs=1e-3)
    assert limits[0] == pytest.approx(3 * 0.3 * 2.0539)
    assert (np.diff(limits) >= 0).all()


def test_a_floor_lets_a_rise_be_seen_after_a_long_calm() -> None:
    calm_then_rise = [-6.0] * 50 + [2.0] * 5
    assert ewma(calm_then_rise)[-1] < 0
    # z = 2 (1 - 0.8^5), begun at the floor
    assert ewma(calm_then_rise, floor=0.0)[-1] == pytest.approx(2 * (1 - 0.8**5))


def test_scores_of_undisturbed_distances_are_about_normal_and_rarely_alarm() -> None:
    rng = np.random.default_rng(0)
    usual, later = np.sqrt(chi2.rvs(12, size=(2, 20_000), random_state=rng))
    scores = normal_scores(later, usual)
    assert (scores.mean(), scores.std()) == pytest.approx((0, 1), abs=0.03)
    assert np.quantile(scores, (0.025, 0.975)) == pytest.approx([-1.96, 1.96], abs=0.08)
    assert (scores > SHEWHART).mean() < 5e-4
    alarms = (ewma(scores, floor=0.0) > ewma_limits(len(scores))).mean()
    assert alarms < 0.02
    assert normal_scores([2.0], [1.0, 2.0, 3.0, 2.0])[0] > normal_scores([1.0], [1.0, 2.0, 3.0, 2.0])[0]
