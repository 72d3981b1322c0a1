"""The choice of cells to label: properties for any predictions, and what it prefers on made clusters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy

from hemabridge.errors import InputError
from hemabridge.selection.cells_to_label import cells_to_label, relative_entropy


def predictions_of(classes: NDArray[np.intp], count: int, sure: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return predictions of these classes, whose largest probability is `sure`."""
    found = np.repeat((1 - sure)[:, None] / (count - 1), count, axis=1)
    found[np.arange(len(classes)), classes] = sure
    return found.astype(np.float32)


@st.composite
def sites(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.intp], int, int]:
    """Predictions, features, subdomains, k and a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cells, classes = draw(st.integers(1, 60)), draw(st.integers(2, 5))
    predictions = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.1, 1.0]))), cells).astype(np.float32)
    features = rng.normal(size=(cells, 3)) * draw(st.sampled_from([0.0, 1.0, 1e6]))
    return predictions, features, rng.integers(0, 3, cells), draw(st.integers(1, 70)), draw(st.integers(0, 99))


@given(sites())
@settings(max_examples=60)
def test_any_choice_is_of_different_cells_and_spread_over_subdomains_and_classes(
    site: tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.intp], int, int],
) -> None:
    predictions, features, subdomains, k, seed = site
    chosen = cells_to_label(predictions, features, subdomains, k, np.random.default_rng(seed))
    assert len(chosen) == min(k, len(predictions))
    assert len(set(chosen.tolist())) == len(chosen)
    classes = predictions.argmax(axis=1)
    for end in range(1, len(chosen) + 1):
        begun, left = chosen[:end], np.setdiff1d(np.arange(len(predictions)), chosen[:end])
        for domain in np.unique(subdomains[left]):  # one that has cells left is at most one cell behind any other
            behind = (subdomains[begun] == domain).sum()
            assert max(np.bincount(subdomains[begun])) <= behind + 1
    if k >= len(predictions):
        assert set(classes[chosen]) == set(classes)
    again = cells_to_label(predictions, features, subdomains, k, np.random.default_rng(seed))
    np.testing.assert_array_equal(again, chosen)
    np.testing.assert_array_equal(
        cells_to_label(predictions, features, subdomains, 1, np.random.default_rng(seed)), chosen[:1]
    )


def test_every_predicted_class_of_every_subdomain_comes_equally_often() -> None:
    rng = np.random.default_rng(1)
    classes, subdomains = np.repeat([0, 1, 2, 3], [300, 60, 8, 8]), np.tile([0, 1], 188)
    predictions = predictions_of(classes, 4, rng.uniform(0.4, 1, len(classes)))
    chosen = cells_to_label(predictions, rng.normal(size=(376, 5)), subdomains, 16, rng)
    np.testing.assert_array_equal(np.bincount(classes[chosen]), [4, 4, 4, 4])
    np.testing.assert_array_equal(np.bincount(subdomains[chosen]), [8, 8])


def test_uncertain_cells_are_preferred() -> None:
    rng = np.random.default_rng(2)
    sure = np.where(np.arange(400) % 4 == 0, 0.5, 0.999)
    predictions = predictions_of(np.zeros(400, np.intp), 2, sure)
    features, one = rng.normal(size=(400, 8)), np.zeros(400, np.intp)
    drawn = [cells_to_label(predictions, features, one, 16, np.random.default_rng(seed)) for seed in range(10)]
    assert np.mean([sure[chosen] == 0.5 for chosen in drawn]) > 0.7  # a quarter of all cells


def test_the_choice_reaches_every_cluster_where_a_random_one_does_not() -> None:
    rng = np.random.default_rng(3)
    centers = 100 * np.eye(8)
    cluster = np.repeat(np.arange(8), [200, 5, 5, 5, 5, 5, 5, 5])
    features = centers[cluster] + rng.normal(size=(235, 8))
    predictions, one = predictions_of(np.zeros(235, np.intp), 2, np.full(235, 0.7)), np.zeros(235, np.intp)
    for seed in range(5):
        chosen = cells_to_label(predictions, features, one, 8, np.random.default_rng(seed))
        assert len(set(cluster[chosen].tolist())) == 8


def test_relative_entropy_is_that_of_scipy() -> None:
    predictions = np.random.default_rng(4).dirichlet(np.ones(5), 20).astype(np.float32)
    np.testing.assert_allclose(relative_entropy(predictions), entropy(predictions, axis=1) / np.log(5), rtol=1e-5)
    np.testing.assert_array_equal(relative_entropy(np.eye(5, dtype=np.float32)), np.zeros(5))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    rng = np.random.default_rng(5)
    two, one = np.full((2, 2), 0.5), np.zeros((2, 3))
    with pytest.raises(InputError, match=r"same cells, got \(2, 1, 2\)"):
        cells_to_label(two, one[:1], np.zeros(2, int), 1, rng)
    with pytest.raises(InputError, match="at least 1 cell"):
        cells_to_label(two, one, np.zeros(2, int), 0, rng)
    with pytest.raises(InputError, match="finite features"):
        cells_to_label(two, one + np.nan, np.zeros(2, int), 1, rng)
