import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hemabridge.domain.domain_classifier import area_under_curve, domain_auc, logistic_weights


def test_the_area_is_that_of_scikit_learn_with_ties_too() -> None:
    generator = np.random.default_rng(0)
    positives, negatives = generator.integers(3, 9, 31).astype(float), generator.integers(0, 7, 44).astype(float)
    scores, labels = np.concatenate([positives, negatives]), np.arange(75) < 31
    assert area_under_curve(positives, negatives) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_areas_worked_out_by_hand() -> None:
    one = np.array([1.0, 3.0])
    assert area_under_curve(one, np.array([0.0, 2.0])) == 0.75
    assert area_under_curve(one, one) == 0.5
    assert area_under_curve(one + 5, one) == 1.0


def test_no_scores_have_no_area() -> None:
    with pytest.raises(ValueError, match="both kinds, got 0 and 3"):
        area_under_curve(np.empty(0), np.zeros(3))


def test_the_regression_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    features, labels = generator.normal(0, 1, (80, 4)), np.arange(80) % 3 == 0
    features[labels] += [0.8, -0.5, 0, 0.2]
    weights, constant = logistic_weights(features, labels, strength=2.0)
    wanted = LogisticRegression(C=0.5, tol=1e-9, max_iter=1000).fit(features, labels)
    np.testing.assert_allclose(weights, wanted.coef_[0], atol=1e-3)
    assert constant == pytest.approx(wanted.intercept_[0], abs=1e-3)


def test_equal_sites_cannot_be_told_apart_and_others_can() -> None:
    generator = np.random.default_rng(2)
    same = [domain_auc(*generator.normal(0, 1, (2, 40, 6))) for _ in range(30)]
    assert abs(np.mean(same) - 0.5) < 3 * np.std(same) / np.sqrt(len(same))
    one, other = generator.normal(0, 1, (2, 300, 6))
    # Of two normal distributions that are 2 deviations apart, the best area is that of the normal at sqrt(2).
    other[:, 0] += 2
    assert domain_auc(one, other) == pytest.approx(norm.cdf(np.sqrt(2)), abs=0.03)


def test_a_fit_is_not_scored_on_its_own_cells() -> None:
    """With more features than cells every fit is perfect; the held-out cells say that nothing was learned."""
    generator = np.random.default_rng(3)
    found = [domain_auc(*generator.normal(0, 1, (2, 20, 100))) for _ in range(20)]
    assert 0.4 < np.mean(found) < 0.6


def test_a_feature_that_never_varies_is_harmless() -> None:
    generator = np.random.default_rng(4)
    one, other = generator.normal(0, 1, (2, 20, 2))
    with_constant = [np.c_[x, np.full(20, 7.0)] for x in (one, other + 2)]
    assert domain_auc(*with_constant) > 0.9


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="5 or more"):
        domain_auc(np.zeros((4, 2)), np.zeros((9, 2)))
