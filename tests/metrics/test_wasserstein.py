import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from hemabridge.metrics.wasserstein import Slices

LINE = Slices.through([0.0], [10.0], nodes=11)


def distance(slices: Slices, one: np.ndarray, other: np.ndarray) -> float:
    return float(slices.distance(slices.shares(one), slices.shares(other)))


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (column(2), column(5), 3.0),
        (column(0, 10), column(5), 5.0),
        (column(1, 1, 4), column(1, 4, 4), 1.0),
        (column(2.5), column(7.5), 5.0),  # between nodes: means are exact
        (column(3, 3), column(3), 0.0),
    ],
)
def test_distances_worked_out_by_hand(one: np.ndarray, other: np.ndarray, expected: float) -> None:
    assert distance(LINE, one, other) == pytest.approx(expected, abs=1e-12)


def test_on_a_line_it_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    on_nodes = generator.integers(0, 11, 40), generator.integers(0, 11, 70)
    wanted = wasserstein_distance(*on_nodes)
    assert distance(LINE, *(x[:, None].astype(float) for x in on_nodes)) == pytest.approx(wanted, abs=1e-12)
    fine = Slices.through([0.0], [10.0], nodes=201)
    anywhere = generator.uniform(0, 10, 500), generator.uniform(2, 8, 300)
    found = distance(fine, *(x[:, None] for x in anywhere))
    assert found == pytest.approx(wasserstein_distance(*anywhere), abs=float(fine.step[0]))


def test_in_space_it_is_the_mean_over_directions_of_scipys() -> None:
    generator = np.random.default_rng(1)
    one, other = generator.normal(0, 1, (400, 3)), generator.normal(0.5, 1.5, (300, 3))
    slices = Slices.through([-6] * 3, [6] * 3, count=20, nodes=400)
    np.testing.assert_allclose(np.linalg.norm(slices.vectors, axis=1), 1)
    wanted = np.mean([wasserstein_distance(one @ v, other @ v) for v in slices.vectors])
    assert distance(slices, one, other) == pytest.approx(wanted, rel=0.01)


def test_shares_can_be_averaged_cell_by_cell() -> None:
    generator = np.random.default_rng(2)
    slices = Slices.through([0, 0], [1, 1])
    cells = generator.uniform(0, 1, (3, 50, 2))
    mean = np.mean([slices.shares(cell) for cell in cells], axis=0)
    np.testing.assert_allclose(mean, slices.shares(cells.reshape(-1, 2)), atol=1e-12)
    np.testing.assert_allclose(mean.sum(axis=1), 1)


def test_points_outside_of_the_box_count_at_its_border() -> None:
    np.testing.assert_allclose(LINE.shares(column(-3, 40))[0], [0.5, *[0] * 9, 0.5])


@pytest.mark.parametrize(
    ("low", "high", "more", "told"),
    [
        ([0.0], [0.0], {}, "low < high"),
        ([0.0, 0.0], [1.0], {}, "low < high"),
        ([0.0], [1.0], {"nodes": 1}, "nodes >= 2"),
        ([0.0], [1.0], {"count": 0}, "count >= 1"),
    ],
)
def test_impossible_boxes_are_refused(low: list[float], high: list[float], more: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Slices.through(low, high, **more)


def test_no_points_have_no_shares() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        LINE.shares(np.empty((0, 1)))
