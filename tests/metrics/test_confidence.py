from itertools import permutations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from hemabridge.metrics.confidence import (
    area_under_risk_coverage,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    reliability,
    risk_coverage,
    with_temperature,
)


def drawn(n: int, classes: int, seed: int, sharpness: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * sharpness
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random(n)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    return probabilities.astype(np.float32), np.minimum(truth, classes - 1)


HAND = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.45, 0.55]])
HAND_TRUTH = np.array([0, 1, 0, 0])


def test_a_hand_worked_example() -> None:
    bins = reliability(HAND, HAND_TRUTH)
    assert [None if b is None else (b.n, round(b.confidence, 3), b.accuracy) for b in bins] == [
        *[None] * 5,
        (1, 0.55, 0.0),
        (1, 0.65, 1.0),
        *[None] * 2,
        (2, 0.95, 0.5),
    ]
    # (2 * 0.45 + 1 * 0.35 + 1 * 0.55) / 4
    assert expected_calibration_error(HAND, HAND_TRUTH) == pytest.approx(0.45)
    # 2 * 0.05^2, 2 * 0.95^2, 2 * 0.35^2, 2 * 0.55^2; mean
    assert brier_score(HAND, HAND_TRUTH) == pytest.approx(2 * (0.0025 + 0.9025 + 0.1225 + 0.3025) / 4)


@pytest.mark.parametrize(("n", "classes", "bins"), [(92, 4, 10), (500, 3, 15), (40, 2, 5)])
def test_bins_and_ece_agree_with_the_calibration_curve_of_scikit_learn(n: int, classes: int, bins: int) -> None:
    probabilities, truth = drawn(n, classes, n)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins, strategy="uniform")
    found = [b for b in reliability(probabilities, truth, bins) if b is not None]
    assert [b.accuracy for b in found] == pytest.approx(accuracy)
    assert [b.confidence for b in found] == pytest.approx(mean, abs=1e-6)
    counts, _ = np.histogram(confidence, bins=np.linspace(0, 1, bins + 1))
    expected = np.sum(counts[counts > 0] * np.abs(accuracy - mean)) / n
    assert expected_calibration_error(probabilities, truth, bins) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_confidence_on_an_edge_lies_in_the_bin_that_ends_there(kind: type) -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [1.0, 0.0]], dtype=kind)
    bins = reliability(probabilities, np.array([0, 0, 0]))
    assert [place for place, b in enumerate(bins) if b is not None] == [6, 8, 9]


@pytest.mark.parametrize("classes", [2, 4])
def test_brier_agrees_with_scikit_learn(classes: int) -> None:
    probabilities, truth = drawn(200, classes, 1)
    exact = probabilities.astype(np.float64) / probabilities.astype(np.float64).sum(axis=1, keepdims=True)
    expected = brier_score_loss(truth, exact, labels=list(range(classes)), scale_by_half=False)
    assert brier_score(probabilities, truth) == pytest.approx(expected, abs=1e-6)


def test_the_temperature_of_two_classes_is_the_slope_of_a_logistic_regression() -> None:
    probabilities, truth = drawn(400, 2, 2)
    hot = with_temperature(probabilities, 0.4)
    odds = np.log(hot[:, 1] / hot[:, 0])[:, None]
    slope = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(odds, truth).coef_[0, 0]
    assert fit_temperature(hot, truth) == pytest.approx(1 / slope, rel=1e-3)


def test_the_temperature_is_where_the_log_loss_of_scikit_learn_is_least() -> None:
    probabilities, truth = drawn(300, 4, 3)
    hot = with_temperature(probabilities, 0.5)
    found = fit_temperature(hot, truth)
    losses = {t: log_loss(truth, with_temperature(hot, t)) for t in (0.97 * found, found, 1.03 * found)}
    assert min(losses, key=losses.__getitem__) == found
    assert found == pytest.approx(2.0, rel=0.3)  # 1 / 0.5 undoes what was done
    assert expected_calibration_error(with_temperature(hot, found), truth) < expected_calibration_error(hot, truth)


def test_a_temperature_changes_no_answer_and_1_changes_nothing() -> None:
    probabilities, _ = drawn(100, 3, 4)
    np.testing.assert_allclose(with_temperature(probabilities, 1.0), probabilities, atol=1e-6)
    np.testing.assert_array_equal(with_temperature(probabilities, 3.0).argmax(axis=1), probabilities.argmax(axis=1))
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    assert np.isfinite(fit_temperature(certain, np.array([0, 0])))


@pytest.mark.parametrize("truth", [np.array([], dtype=np.int64), np.array([0])])
def test_arrays_that_do_not_fit_are_refused(truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected probabilities"):
        brier_score(HAND[: 2 * len(truth)], truth)


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
