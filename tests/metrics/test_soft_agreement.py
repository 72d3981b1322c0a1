import numpy as np
import pytest

from hemabridge.metrics.soft_agreement import soft_agreement, soft_agreement_drawn


def test_every_class_weighs_the_same() -> None:
    reference = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    answer = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.8, 0.2]], np.float32)
    assert soft_agreement(reference, answer) == pytest.approx((0.7 + 0.2) / 2)


def test_of_a_cell_that_the_judge_gives_to_both_classes_each_takes_its_share() -> None:
    reference = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)
    answer = np.array([[1.0, 0.0], [0.4, 0.6]], np.float32)
    assert soft_agreement(reference, answer) == pytest.approx((0.75 * 1.0 + 0.25 * 0.4 + 0.75 * 0.6) / 2)


def test_a_resample_is_the_accord_of_its_cells() -> None:
    rng = np.random.default_rng(0)
    reference, answer = rng.dirichlet([1.0, 1.0, 1.0], (2, 12))
    drawn = rng.multinomial(12, np.full(12, 1 / 12), size=3).astype(np.float64)
    expected = [
        soft_agreement(*(each.repeat(times.astype(int), axis=0) for each in (reference, answer))) for times in drawn
    ]
    np.testing.assert_allclose(soft_agreement_drawn(reference, answer, drawn), expected)


def test_a_class_that_no_cell_has_counts_as_no_accord() -> None:
    reference = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert soft_agreement(reference, reference) == pytest.approx(0.5)
