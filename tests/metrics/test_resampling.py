import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.metrics import accuracy_score, recall_score

from hemabridge.metrics.resampling import Resampling, percentile_interval, score_draws


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=bool)[:, None]


def test_one_class_gives_the_quantiles_of_the_binomial_distribution() -> None:
    right = column([1] * 30 + [0] * 10)
    accuracy, balanced = score_draws(right, Resampling(np.zeros(40, dtype=np.int64), draws=40000))
    expected = binom.ppf([0.025, 0.975], 40, 0.75) / 40
    assert percentile_interval(accuracy[:, 0]) == pytest.approx(tuple(expected), abs=1e-9)
    np.testing.assert_array_equal(accuracy, balanced)


def test_every_draw_of_cells_keeps_the_mix_of_classes() -> None:
    classes = np.repeat([0, 1, 2], [5, 20, 3])
    member = (classes[:, None] == np.arange(3)).astype(float)
    np.testing.assert_array_equal(Resampling(classes, draws=300).sums(member), np.tile([5.0, 20.0, 3.0], (300, 1)))


def test_each_draw_is_scored_as_scikit_learn_scores_the_cells_that_were_drawn() -> None:
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 3, 60)
    right = rng.random((60, 2)) < 0.7
    resampling = Resampling(classes, rng.integers(0, 9, 60), draws=50, seed=5)
    times = resampling.sums(np.eye(60)).astype(int)
    accuracy, balanced = score_draws(right, resampling)
    for draw in range(50):
        drawn = np.repeat(np.arange(60), times[draw])
        for run in range(2):
            predicted = np.where(right[:, run], classes, 3)[drawn]
            assert accuracy[draw, run] == pytest.approx(accuracy_score(classes[drawn], predicted))
            assert balanced[draw, run] == pytest.approx(
                recall_score(classes[drawn], predicted, labels=np.unique(classes[drawn]), average="macro")
            )


def test_whole_patients_are_drawn() -> None:
    patients = np.array([4, 4, 4, 9, 9, 7])
    times = Resampling(np.zeros(6, dtype=np.int64), patients, draws=200).sums(np.eye(6))
    assert np.all(times[:, [0, 1]] == times[:, [2, 2]])
    assert np.all(times[:, 3] == times[:, 4])
    assert np.all(times[:, 0] + times[:, 3] + times[:, 5] == 3)
    assert len(np.unique(times, axis=0)) == 10  # all ways to draw 3 of 3 patients with replacement


def test_patients_of_one_size_give_the_interval_of_scipy_over_patients() -> None:
    rng = np.random.default_rng(0)
    share = rng.beta(2, 1, 25)
    right = rng.random((25, 8)) < share[:, None]
    patients = np.repeat(np.arange(25), 8)
    accuracy, _ = score_draws(right.reshape(-1, 1), Resampling(np.zeros(200, dtype=np.int64), patients, draws=20000))
    expected = bootstrap((right.mean(axis=1),), np.mean, method="percentile", n_resamples=20000, rng=1)
    assert percentile_interval(accuracy[:, 0]) == pytest.approx(tuple(expected.confidence_interval), abs=0.006)
    cells, _ = score_draws(right.reshape(-1, 1), Resampling(np.zeros(200, dtype=np.int64), draws=2000))
    assert np.std(accuracy) > 1.3 * np.std(cells)  # cells of one patient are alike: fewer independent ones


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    classes = np.repeat([0, 1], [60, 40])
    held = 0
    for seed in range(300):
        right = rng.random(100) < np.where(classes == 0, 0.9, 0.6)
        _, balanced = score_draws(right[:, None], Resampling(classes, draws=500, seed=seed))
        low, high = percentile_interval(balanced[:, 0])
        held += low <= 0.75 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_the_same_seed_gives_the_same_draws_whatever_is_summed() -> None:
    classes = np.repeat([0, 1], 8)
    one = Resampling(classes, draws=600).sums(np.eye(16))
    np.testing.assert_array_equal(one[:, :3], Resampling(classes, draws=600).sums(np.eye(16)[:, :3]))
    assert not np.array_equal(one, Resampling(classes, draws=600, seed=1).sums(np.eye(16)))


@pytest.mark.parametrize(
    ("classes", "patients", "said"),
    [
        ([], None, "at least one cell"),
        ([0, 1], [1], "a patient for each of 2 cells"),
        ([0, 1], [3, 3], "at least two patients"),
    ],
)
def test_what_cannot_be_drawn_is_refused(classes: list[int], patients: list[int] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Resampling(np.array(classes, dtype=np.int64), None if patients is None else np.array(patients))


def test_columns_of_other_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="a row for each of 3 cells, got 2"):
        Resampling(np.zeros(3, dtype=np.int64)).sums(np.ones((2, 1)))
