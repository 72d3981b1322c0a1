import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_of_statsmodels

from hemabridge.metrics.reader_statistics import (
    answer_counts,
    answer_shares,
    cohen_kappa,
    detect,
    fleiss_kappa,
    gwet_ac1,
    pair_agreement,
)


def test_hand_worked_counts() -> None:
    # H = 18.5/21 = 0.880952, z = 1.179761; F = 4.5/21 = 0.214286, z = -0.791639
    found = detect(18, 20, 4, 20)
    assert float(found.d_prime) == pytest.approx(1.971400, abs=1e-5)
    assert float(found.criterion) == pytest.approx(-0.194061, abs=1e-5)


def test_never_and_always_give_a_finite_answer() -> None:
    # H = 10.5/11, F = 0.5/11: z = +-1.690622
    assert float(detect(10, 10, 0, 10).d_prime) == pytest.approx(2 * 1.690622, abs=1e-5)
    assert float(detect(0, 10, 10, 10).d_prime) == pytest.approx(-2 * 1.690622, abs=1e-5)
    assert tuple(map(float, detect(0, 0, 0, 0))) == (0.0, 0.0)


@pytest.mark.parametrize("leaning", [-0.8, 0.0, 0.7])
def test_an_observer_of_equal_variances_is_recovered_however_it_leans(leaning: float) -> None:
    rng = np.random.default_rng(5)
    signal, noise = rng.normal(0.6, 1, 40000), rng.normal(-0.6, 1, 40000)
    found = detect((signal > leaning).sum(), 40000, (noise > leaning).sum(), 40000)
    assert float(found.d_prime) == pytest.approx(1.2, abs=0.03)
    assert float(found.criterion) == pytest.approx(leaning, abs=0.02)
    # d' = sqrt(2) z(AUC): Macmillan and Creelman (2005), equation 3.7
    area = roc_auc_score(np.repeat([1, 0], 40000), np.concatenate([signal, noise]))
    assert float(found.d_prime) == pytest.approx(np.sqrt(2) * norm.ppf(area), abs=0.05)


def test_many_draws_are_judged_at_once() -> None:
    hits = np.array([[3.0, 9.0], [0.0, 5.0]])
    found = detect(hits, np.full((2, 2), 10.0), np.full((2, 2), 2.0), np.full((2, 2), 8.0))
    for place in np.ndindex(2, 2):
        assert found.d_prime[place] == float(detect(hits[place], 10, 2, 8).d_prime)


@pytest.mark.parametrize("counts", [(-1, 5, 0, 5), (6, 5, 0, 5), (0, 5, 6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= hits"):
        detect(*counts)


NONE = -1
FOUR_READERS = np.array(
    [
        [1, 1, 0, 1],
        [2, 2, 3, 2],
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [2, 2, 2, 2],
        [1, 2, 3, 4],
        [4, 4, 4, 4],
        [1, 1, 2, 1],
        [2, 2, 2, 2],
        [0, 5, 5, 5],
        [0, 0, 1, 1],
        [0, 0, 3, 0],
    ]
)
"""Gwet (2014), Handbook of Inter-Rater Reliability; the data set `cac.raw4raters` of irrCAC. 0: not rated."""


def table_of(answers: np.ndarray, categories: int) -> np.ndarray:
    table = np.zeros((categories, categories))
    np.add.at(table, (answers[:, 0], answers[:, 1]), 1)
    return table


def summed(answers: np.ndarray, categories: int) -> tuple[np.ndarray, np.ndarray]:
    counts = answer_counts(answers, categories)
    answered = counts.sum(axis=1) > 0
    return np.asarray(np.nanmean(pair_agreement(counts))), answer_shares(counts)[answered].mean(axis=0)


@pytest.mark.parametrize("categories", [2, 3, 5])
@pytest.mark.parametrize("skill", [0.0, 0.5, 0.95])
def test_cohen_is_that_of_scikit_learn_and_statsmodels(categories: int, skill: float) -> None:
    rng = np.random.default_rng(categories)
    truth = rng.integers(0, categories, 80)
    guesses = rng.integers(0, categories, (80, 2))
    answers = np.where(rng.random((80, 2)) < skill, truth[:, None], guesses)
    table = table_of(answers, categories)
    assert float(cohen_kappa(table)) == pytest.approx(cohen_kappa_score(answers[:, 0], answers[:, 1]))
    assert float(cohen_kappa(table)) == pytest.approx(cohens_kappa(table).kappa)
    weighted = float(cohen_kappa(table, quadratic=True))
    assert weighted == pytest.approx(cohen_kappa_score(answers[:, 0], answers[:, 1], weights="quadratic"))
    assert weighted == pytest.approx(cohens_kappa(table, wt="quadratic").kappa)


def test_many_tables_are_judged_at_once() -> None:
    tables = np.random.default_rng(0).integers(1, 9, (6, 2, 4, 4)).astype(float)
    expected = [[cohens_kappa(one).kappa for one in row] for row in tables]
    np.testing.assert_allclose(cohen_kappa(tables), expected, rtol=1e-12)


@pytest.mark.parametrize("skill", [0.1, 0.6, 0.9])
def test_fleiss_is_that_of_statsmodels(skill: float) -> None:
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 3, 60)
    answers = np.where(rng.random((60, 5)) < skill, truth[:, None], rng.integers(0, 3, (60, 5)))
    counts, _ = aggregate_raters(answers, n_cat=3)
    assert np.array_equal(answer_counts(answers, 3), counts)
    assert float(fleiss_kappa(*summed(answers, 3))) == pytest.approx(fleiss_of_statsmodels(counts))


def test_gwets_example_of_two_readers_who_nearly_always_say_yes() -> None:
    """Gwet (2008): of 125 subjects both say yes to 118, the first alone to 5, the second alone to 2."""
    table = np.array([[118.0, 5.0], [2.0, 0.0]])
    answers = np.repeat([[0, 0], [0, 1], [1, 0]], [118, 5, 2], axis=0)
    observed, shares = summed(answers, 2)
    assert float(observed) == pytest.approx(118 / 125)
    # pi = (123/125 + 120/125) / 2 = 0.972; chance = 2 x 0.972 x 0.028 = 0.054432
    assert float(gwet_ac1(observed, shares)) == pytest.approx((0.944 - 0.054432) / (1 - 0.054432))
    assert f"{gwet_ac1(observed, shares):.4f} {cohen_kappa(table):.4f} {fleiss_kappa(observed, shares):.4f}" == (
        "0.9408 -0.0234 -0.0288"
    )


def test_three_answers_give_what_irrcac_prints() -> None:
    """Its vignette, `cont3x3abstractors`: 100 diagnoses by two abstractors."""
    table = np.array([[13.0, 0, 0], [0, 20, 7], [0, 4, 56]])
    answers = np.repeat([[i, j] for i in range(3) for j in range(3)], table.astype(int).ravel(), axis=0)
    observed, shares = summed(answers, 3)
    found = (cohen_kappa(table), fleiss_kappa(observed, shares), gwet_ac1(observed, shares))
    assert [round(float(value), 7) for value in found] == [0.7964094, 0.7962397, 0.8493305]


def test_readers_who_left_pictures_out_are_counted_where_they_answered() -> None:
    observed, shares = summed(FOUR_READERS - 1, 5)
    assert float(observed) == pytest.approx(9 / 11)
    assert f"{gwet_ac1(observed, shares):.5f} {fleiss_kappa(observed, shares):.5f}" == "0.77544 0.76117"


def test_the_agreement_of_a_picture_is_the_share_of_pairs() -> None:
    answers = np.array([[0, 0, 1, 0], [0, 1, NONE, NONE], [1, NONE, NONE, NONE], [NONE] * 4])
    np.testing.assert_array_equal(pair_agreement(answer_counts(answers, 2)), [0.5, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal(answer_shares(answer_counts(answers, 2)), [[0.75, 0.25], [0.5, 0.5], [0, 1], [0, 0]])


def test_without_any_difference_kappa_is_not_defined_and_ac1_is_1() -> None:
    same = np.zeros((9, 3), dtype=np.int64)
    observed, shares = summed(same, 2)
    assert np.isnan(fleiss_kappa(observed, shares))
    assert np.isnan(cohen_kappa(np.array([[9.0, 0.0], [0.0, 0.0]])))
    assert float(gwet_ac1(observed, shares)) == 1.0


def test_a_worst_disagreement_on_a_scale_weighs_more_than_a_neighbors() -> None:
    near, far = np.diag([5.0, 5, 5, 5, 5]), np.diag([5.0, 5, 5, 5, 5])
    near[0, 1] = near[1, 0] = far[0, 4] = far[4, 0] = 2
    assert float(cohen_kappa(near)) == pytest.approx(float(cohen_kappa(far)))
    assert float(cohen_kappa(near, quadratic=True)) > float(cohen_kappa(far, quadratic=True)) + 0.3


def test_what_is_no_set_of_answers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in -1..1, got 0..2"):
        answer_counts(np.array([[0, 2]]), 2)
    with pytest.raises(ValueError, match="a row for each picture"):
        answer_counts(np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="two or more answers"):
        gwet_ac1(np.array(1.0), np.array([1.0]))
