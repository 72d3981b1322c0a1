import numpy as np
import pytest

from hemabridge.adaptation.likely_classes import few_labels, known_classes, likely_classes
from hemabridge.errors import InputError


def test_shares_are_sharpened_and_freed_of_the_commonest_class() -> None:
    answers = np.array([[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]], dtype=np.float32)
    shares, weights = likely_classes(answers, 0.6)
    # By hand: column sums 2.0 and 1.0; first row 0.64 / sqrt(2) against 0.04 / sqrt(1).
    np.testing.assert_allclose(shares[0], [0.4525 / 0.4925, 0.04 / 0.4925], rtol=1e-3)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(weights, [2**-0.5, 2**-0.5, 1.0])


def test_unsure_cells_are_never_drawn_and_none_sure_is_refused() -> None:
    answers = np.array([[0.95, 0.05], [0.5, 0.5]], dtype=np.float32)
    assert likely_classes(answers, 0.6)[1].tolist() == [1.0, 0.0]
    with pytest.raises(InputError, match=r"more than 0\.99 sure of, got none of 2"):
        likely_classes(answers, 0.99)


def test_known_classes_are_drawn_equally_often() -> None:
    shares, weights = known_classes(np.array([0, 0, 1, -1]), 2)
    np.testing.assert_array_equal(shares, [[1, 0], [1, 0], [0, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(weights, [0.5, 0.5, 1.0, 0.0])


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
