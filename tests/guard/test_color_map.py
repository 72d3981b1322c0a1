import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from hemabridge.guard.color_map import NODES, _bins, mapped
from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Images


def colors(count: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3)).astype(np.float32)


def test_a_quadratic_map_is_found() -> None:
    given = colors()
    scaled = given / 255
    wanted = 20 + 90 * scaled[:, [1, 2, 0]] + 80 * scaled * scaled[:, [2, 0, 1]]
    assert np.abs(mapped(given, wanted.astype(np.float32)) - wanted).max() < 0.1


def test_a_map_through_another_color_space_is_found(target: UInt8Images) -> None:
    lab = rgb_to_lab(target[0]) * np.array([0.8, 1.3, 0.7]) + np.array([15, -5, 4])
    wanted = lab_to_rgb(lab).reshape(-1, 3).astype(np.float32)
    left = mapped(target[0].reshape(-1, 3).astype(np.float32), wanted) - wanted
    assert np.sqrt(np.mean(left**2)) < 2


def test_equal_colors_go_to_equal_colors() -> None:
    given = np.repeat(colors(50), 20, axis=0)
    wanted = colors(1000)
    sent = mapped(given, wanted).reshape(50, 20, 3)
    assert np.ptp(sent, axis=1).max() < 1e-2


@pytest.mark.parametrize("level", [0, 17, 255])
def test_one_color_goes_to_the_mean_of_what_it_became(level: int) -> None:
    given = np.full((500, 3), level, np.float32)
    wanted = colors(500)
    np.testing.assert_allclose(mapped(given, wanted)[0], wanted.mean(axis=0), atol=1)


def test_the_bins_interpolate_an_affine_function_as_scipy_does() -> None:
    given = colors(300)
    ticks = np.arange(NODES) * 256 / (NODES - 1)
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1)
    values = grid @ [0.2, -0.5, 0.9] + 3
    expected = RegularGridInterpolator((ticks,) * 3, values)(given)
    bins = _bins(given)
    # The nodes in use stand in the order of the grid; the value of each is what its pixels' weights must reproduce.
    used = np.linalg.lstsq(bins.toarray(), expected, rcond=None)[0]
    np.testing.assert_allclose(bins @ used, expected, atol=1e-3)
    np.testing.assert_allclose(np.asarray(bins.sum(axis=1)).ravel(), 1, atol=1e-5)
    assert bins.data.min() >= 0
