import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel as kernel_of_sklearn

from hemabridge.metrics.kernel_distance import KernelDistance, polynomial_kernel


def naive(one: np.ndarray, other: np.ndarray, pairs_of: np.ndarray | None = None) -> float:
    """The definition, pair by pair; members with equal `pairs_of` are never compared."""
    own = np.arange(len(one)) if pairs_of is None else pairs_of

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3)

    def within(points: np.ndarray, names: np.ndarray) -> float:
        values = [
            kernel(points[i], points[j]) for i in range(len(points)) for j in range(len(points)) if names[i] != names[j]
        ]
        return float(np.mean(values))

    between = np.mean([kernel(x, y) for x in one for y in other])
    return within(one, own) + within(other, np.arange(len(other))) - 2 * float(between)


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(0, 1, (12, 4)), generator.normal(0.5, 1, (9, 4))


def test_it_is_the_definition_pair_by_pair(sets: tuple[np.ndarray, np.ndarray]) -> None:
    assert KernelDistance(*sets).value() == pytest.approx(naive(*sets), rel=1e-12)


def test_the_kernel_is_that_of_scikit_learn(sets: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(polynomial_kernel(*sets), kernel_of_sklearn(*sets, degree=3, gamma=1 / 4, coef0=1))


def test_a_resample_never_compares_a_cell_with_itself(sets: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = sets
    members = np.array([0, 0, 0, 3, 4, 4, 7])
    drawn = np.bincount(members, minlength=len(one)).astype(float)[None]
    found = KernelDistance(one, other).resampled(drawn, np.ones((1, len(other))))
    assert found[0] == pytest.approx(naive(one[members], other, members), rel=1e-12)


def test_it_has_no_bias_where_both_sets_are_of_one_distribution() -> None:
    generator = np.random.default_rng(1)
    found = [KernelDistance(*generator.normal(0, 1, (2, 15, 3))).value() for _ in range(600)]
    standard_error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * standard_error
    assert min(found) < 0
    apart = [KernelDistance(x, y + 1).value() for x, y in generator.normal(0, 1, (50, 2, 15, 3))]
    assert np.mean(apart) > 20 * standard_error


def test_resamples_scatter_about_the_value() -> None:
    generator = np.random.default_rng(2)
    one, other = generator.normal(0, 1, (60, 3)), generator.normal(0.7, 1, (50, 3))
    distance = KernelDistance(one, other)
    drawn = [generator.multinomial(n, np.full(n, 1 / n), 400).astype(float) for n in (60, 50)]
    found = distance.resampled(*drawn)
    assert np.mean(found) == pytest.approx(distance.value(), abs=0.5 * np.std(found))


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (0, 3)), ((5, 3), (5, 2))])
def test_sets_that_cannot_be_compared_are_refused(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="2 or more"):
        KernelDistance(np.zeros(shapes[0]), np.zeros(shapes[1]))
