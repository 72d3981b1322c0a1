import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, recall_score

from hemabridge.metrics.classification import accuracy, balanced_accuracy, confusion_counts, recall_per_class

CLASSES = ("atypical lymphocyte", "blast", "reactive lymphocyte")


def figure_5_of_the_paper() -> tuple[np.ndarray, np.ndarray]:
    """75 of 92: all 25 and all 37 right, 13 of 30 reactive right, 14 of them called atypical and 3 blast."""
    truth = np.repeat([0, 1, 2], [25, 37, 30])
    predicted = np.concatenate([np.full(25, 0), np.full(37, 1), np.repeat([0, 1, 2], [14, 3, 13])])
    return truth.astype(np.int64), predicted.astype(np.int64)


def test_the_papers_figure_5_by_hand() -> None:
    truth, predicted = figure_5_of_the_paper()
    assert confusion_counts(truth, predicted, 3).tolist() == [[25, 0, 0], [0, 37, 0], [14, 3, 13]]
    assert accuracy(truth, predicted) == pytest.approx(75 / 92)
    assert balanced_accuracy(truth, predicted, 3) == pytest.approx((1 + 1 + 13 / 30) / 3)
    assert recall_per_class(truth, predicted, CLASSES) == pytest.approx(
        {"atypical lymphocyte": 1.0, "blast": 1.0, "reactive lymphocyte": 13 / 30}
    )


@pytest.mark.parametrize("seed", range(5))
def test_all_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 60)
    predicted = np.where(rng.random(60) < 0.6, truth, rng.integers(0, 4, 60))
    assert np.array_equal(confusion_counts(truth, predicted, 4), confusion_matrix(truth, predicted, labels=range(4)))
    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert balanced_accuracy(truth, predicted, 4) == pytest.approx(balanced_accuracy_score(truth, predicted))
    recall = recall_per_class(truth, predicted, ("a", "b", "c", "d"))
    assert list(recall.values()) == pytest.approx(recall_score(truth, predicted, labels=range(4), average=None))


def test_a_class_without_cells_has_no_recall_and_no_part_in_the_balanced_accuracy() -> None:
    truth, predicted = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    assert recall_per_class(truth, predicted, CLASSES) == {
        "atypical lymphocyte": 0.5,
        "blast": None,
        "reactive lymphocyte": 1.0,
    }
    assert balanced_accuracy(truth, predicted, 3) == pytest.approx(0.75)


def test_labels_outside_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"truth labels in 0\.\.2, got -1\.\.1"):
        confusion_counts(np.array([-1, 1]), np.array([0, 1]), 3)
    with pytest.raises(ValueError, match=r"predicted labels in 0\.\.2, got 0\.\.3"):
        confusion_counts(np.array([0, 1]), np.array([0, 3]), 3)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        confusion_counts(np.array([0, 1]), np.array([0]), 2)
    with pytest.raises(ValueError, match="one length"):
        accuracy(np.array([0, 1]), np.array([0]))


def test_no_cell_at_all_is_refused() -> None:
    nothing = np.array([], dtype=np.int64)
    with pytest.raises(ValueError, match="at least one"):
        accuracy(nothing, nothing)
    with pytest.raises(ValueError, match="at least one"):
        balanced_accuracy(nothing, nothing, 3)
