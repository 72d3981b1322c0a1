from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from hemabridge.metrics.selective import area_under_risk_coverage, risk_coverage


def test_a_hand_worked_curve() -> None:
    confidence, right = np.array([0.6, 0.9, 0.7, 0.8]), np.array([False, True, True, False])
    # In the order of confidence: right, wrong, right, wrong.
    assert risk_coverage(confidence, right) == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert area_under_risk_coverage(confidence, right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_equally_sure_cells_count_as_the_mean_over_their_orders() -> None:
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.2])
    right = np.array([True, False, True, True, False])
    curves = []
    for order in permutations((1, 2, 3)):
        places = [0, *order, 4]
        curves.append(np.cumsum(~right[places]) / np.arange(1, 6))
    assert risk_coverage(confidence, right) == pytest.approx(np.mean(curves, axis=0))


def test_each_point_is_the_error_of_the_cells_above_a_threshold() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.permutation(np.linspace(0.2, 1, 40))
    right = rng.random(40) < confidence
    for cells, risk in enumerate(risk_coverage(confidence, right), start=1):
        kept = confidence >= np.sort(confidence)[-cells]
        assert risk == pytest.approx(1 - accuracy_score(np.ones(cells), right[kept]))


def test_the_best_and_the_worst_order() -> None:
    right = np.array([True] * 6 + [False] * 4)
    best = area_under_risk_coverage(np.linspace(1, 0, 10), right)
    worst = area_under_risk_coverage(np.linspace(0, 1, 10), right)
    assert best == pytest.approx((1 / 7 + 2 / 8 + 3 / 9 + 4 / 10) / 10)
    assert area_under_risk_coverage(np.full(10, 0.5), right) == pytest.approx(0.4)
    assert best < 0.4 < worst


def test_what_is_no_set_of_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="N at least 1"):
        risk_coverage(np.array([]), np.array([], dtype=bool))
