import numpy as np
from numpy.typing import NDArray

from hemabridge.domain.subdomains import fields_of, nearest_field, subdomains_of

WHITE, YELLOW, BLUE = (99.0, 0.0, 0.0), (95.0, -10.0, 45.0), (90.0, 0.0, -25.0)


def fields(*subdomains: tuple[tuple[float, float, float], int], spread: float = 2.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return np.concatenate([np.array(color) + rng.normal(0, spread, (count, 3)) for color, count in subdomains])


def test_fields_are_measured_beside_the_cell() -> None:
    images = np.full((2, 20, 20, 3), 255, np.uint8)
    images[1] = (255, 0, 0)
    images[:, 6:14, 6:14] = (60, 20, 90)
    np.testing.assert_allclose(fields_of(images), [[100, 0, 0], [53.24, 80.09, 67.20]], atol=0.05)


def test_looks_that_are_clearly_apart_are_parted() -> None:
    found = subdomains_of(fields((WHITE, 40), (YELLOW, 70), (BLUE, 30)), 3, 30)
    assert [len(set(part)) for part in np.split(found, (40, 110))] == [1, 1, 1]
    assert len(set(found)) == 3
    assert found.max() == 2


def test_one_spread_out_look_stays_one() -> None:
    rng = np.random.default_rng(1)
    even = np.array(WHITE) - rng.uniform(0, 1, (200, 1)) * (0, 0, 60)
    assert subdomains_of(even, 3, 30).max() == 0
    assert subdomains_of(fields((WHITE, 200), spread=12.0), 3, 30).max() == 0


def test_looks_that_a_normalizer_would_hardly_tell_apart_stay_one() -> None:
    near = (WHITE[0], WHITE[1], WHITE[2] + 8.0)
    assert subdomains_of(fields((WHITE, 50), (near, 50), spread=0.3), 3, 30).max() == 0


def test_a_few_odd_images_are_no_look_and_hide_none() -> None:
    assert subdomains_of(fields((WHITE, 60), (BLUE, 29)), 3, 30).max() == 0
    found = subdomains_of(fields((WHITE, 60), (YELLOW, 60), ((40.0, 20.0, -30.0), 3)), 3, 30)
    assert set(found[:60]) != set(found[60:120])
    assert len(set(found)) == 2
    assert subdomains_of(fields((WHITE, 1)), 3, 30).tolist() == [0]


def test_the_nearest_field_is_by_euclidean_distance() -> None:
    centers = np.array([WHITE, YELLOW])
    assert nearest_field(np.array([[99.0, 0, 10], [99.0, 0, 40]]), centers).tolist() == [0, 1]
