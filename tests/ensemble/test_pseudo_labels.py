import numpy as np
import pytest

from hemabridge.ensemble.pseudo_labels import few_labels, pseudo_labels
from hemabridge.errors import InputError


def test_predictions_are_sharpened_and_classes_drawn_equally_often() -> None:
    predictions = np.array([[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]], dtype=np.float32)
    targets, weights = pseudo_labels(predictions, 0.6)
    # By hand: 0.64 / (0.64 + 0.04).
    np.testing.assert_allclose(targets[0], [0.64 / 0.68, 0.04 / 0.68], rtol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(weights, [0.5, 0.5, 1.0])


def test_cells_of_low_confidence_are_never_drawn_and_some_must_be_left() -> None:
    predictions = np.array([[0.95, 0.05], [0.5, 0.5]], dtype=np.float32)
    assert pseudo_labels(predictions, 0.6)[1].tolist() == [1.0, 0.0]
    with pytest.raises(InputError, match=r"above 0\.99, got none of 2"):
        pseudo_labels(predictions, 0.99)


def test_a_label_takes_the_place_of_the_prediction_and_is_drawn_more_often() -> None:
    predictions = np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], dtype=np.float32)
    targets, weights = pseudo_labels(predictions, 0.6, np.array([1, -1, 0, -1]))
    np.testing.assert_array_equal(targets[[0, 2]], [[0, 1], [1, 0]])
    # By hand: class 0 holds weights 1 (predicted) and 3 (labeled), class 1 holds 3 and 1.
    np.testing.assert_allclose(weights, [0.75, 0.25, 0.75, 0.25])
    only = pseudo_labels(predictions, 0.99, np.array([0, -1, -1, -1]))[1]
    np.testing.assert_array_equal(only, [1.0, 0.0, 0.0, 0.0])


def test_few_labels_take_classes_in_turn() -> None:
    labels = np.array([0] * 10 + [1] * 3 + [2] * 1)
    kept = few_labels(labels, 8, seed=4)
    chosen = kept >= 0
    np.testing.assert_array_equal(kept[chosen], labels[chosen])
    assert np.bincount(labels[chosen]).tolist() == [4, 3, 1]
    assert not np.array_equal(kept, few_labels(labels, 8, seed=5))
    np.testing.assert_array_equal(few_labels(labels, 14, seed=0), labels)


@pytest.mark.parametrize("count", [0, 15])
def test_more_labels_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(InputError, match="expected 1 to 14 labels"):
        few_labels(np.zeros(14, dtype=np.int64), count, seed=0)
