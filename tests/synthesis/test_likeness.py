import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from hemabridge.errors import InputError
from hemabridge.metrics.kernel_distance import KernelDistance
from hemabridge.synthesis.likeness import SLACK, called, choose, kernel_distance, share_of
from hemabridge.synthesis.pair_results import Share, SnapshotCheck


def test_a_share_has_the_wilson_interval_of_statsmodels() -> None:
    found = share_of(np.array([True] * 9 + [False]))
    assert (found.count, found.n) == (9, 10)
    assert found.interval == pytest.approx(proportion_confint(9, 10, method="wilson"))


def test_a_cell_is_called_what_it_most_probably_is() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.35, 0.25], [0.1, 0.2, 0.7]], np.float32)
    assert [called(probabilities, label).count for label in range(3)] == [1, 1, 1]
    assert called(probabilities[:2], 2).count == 0


def test_the_kernel_distance_is_that_of_the_metric_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, (40, 5)), rng.normal(1, 1, (30, 5))
    found = kernel_distance(one.astype(np.float32), other)
    assert found.value == pytest.approx(KernelDistance(one.astype(np.float32).astype(np.float64), other).value())
    assert found.interval[0] < found.value < found.interval[1]
    assert found == kernel_distance(one.astype(np.float32), other)  # the same draws for the same cells


def test_two_samples_of_one_distribution_have_an_interval_around_nothing() -> None:
    cells = np.random.default_rng(2).normal(0, 1, (80, 4))
    low, high = kernel_distance(cells[:40], cells[40:]).interval
    assert low < 0.3
    assert high > 0
    shifted = kernel_distance(cells[:40], cells[40:] + 2)
    assert shifted.interval[0] > high


def check(name: str, count: int, kid: float) -> SnapshotCheck:
    return SnapshotCheck(name, 10, Share(count, 100, (0.0, 1.0)), kid)


def test_the_nearest_to_real_cells_wins_among_those_of_the_class() -> None:
    checks = [check("a", 40, 0.01), check("b", 96, 0.4), check("c", 98, 0.5), check("d", 94, 0.2), check("e", 92, 0.1)]
    assert SLACK == 0.05
    assert choose(checks).snapshot == "d"


def test_the_earlier_one_of_two_equals_is_taken() -> None:
    assert choose([check("a", 90, 0.2), check("b", 90, 0.2)]).snapshot == "a"


def test_no_snapshot_is_refused() -> None:
    with pytest.raises(InputError, match="at least one snapshot"):
        choose([])
