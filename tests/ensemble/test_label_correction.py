"""The correction of predictions by labels: near labels, far from them, without the own label, and its refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hemabridge.ensemble.label_correction import NOISE, correct_by_labels
from hemabridge.errors import InputError


def two_groups(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions that call every cell the first class, and features of two groups far from each other."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.1, (2 * count, 3)).astype(np.float32)
    features[count:, 0] += 5
    return np.tile(np.float32([0.7, 0.3]), (2 * count, 1)), features


def test_cells_like_a_labeled_one_change_and_others_do_not() -> None:
    prediction, features = two_groups()
    labels = np.full(40, -1)
    labels[20:24] = 1
    found = correct_by_labels(prediction, features, labels)
    assert_allclose(found.probabilities[:20], prediction[:20], atol=1e-6)
    assert (found.probabilities[20:].argmax(axis=1) == 1).all()
    assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert_array_equal(found.held_out, labels)


def test_held_out_is_the_prediction_without_the_own_label() -> None:
    rng = np.random.default_rng(1)
    prediction = rng.dirichlet([1, 1, 1], 30).astype(np.float32)
    features = rng.normal(size=(30, 4)).astype(np.float32)
    labels = np.full(30, -1)
    labels[:12] = rng.integers(3, size=12)
    held_out = correct_by_labels(prediction, features, labels).held_out
    for row in range(12):
        others = labels.copy()
        others[row] = -1
        assert held_out[row] == correct_by_labels(prediction, features, others).probabilities[row].argmax()


def test_one_label_moves_a_cell_half_way_if_noise_is_as_large_as_the_errors() -> None:
    prediction, features = two_groups()
    labels = np.full(40, -1)
    labels[0] = 1
    found = correct_by_labels(prediction, features, labels).probabilities[0, 1]
    assert found == pytest.approx(0.3 + 0.7 / (1 + NOISE))


def test_nothing_to_learn_from_is_refused() -> None:
    prediction, features = two_groups()
    with pytest.raises(InputError, match="at least one label"):
        correct_by_labels(prediction, features, np.full(40, -1))
    with pytest.raises(InputError, match="39"):
        correct_by_labels(prediction, features[1:], np.zeros(40, np.int64))
