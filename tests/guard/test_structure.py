import numpy as np
import pytest
from drawn_cells import SIDE, cell, curved
from scipy.optimize import isotonic_regression
from skimage.metrics import structural_similarity

from hemabridge.guard.structure import _at_tones_of, edge_displacement, ssim_map, structure_ssim
from hemabridge.imaging.color import lightness
from hemabridge.imaging.standardizer import UInt8Images

EVERYWHERE = np.ones((SIDE, SIDE), bool)


def test_the_ssim_of_each_pixel_is_that_of_scikit_image(target: UInt8Images) -> None:
    first, second = lightness(target[0]), lightness(target[1])
    _, expected = structural_similarity(
        first, second, data_range=100, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    np.testing.assert_allclose(ssim_map(first, second)[0], expected, atol=1e-9)


def test_the_tone_curve_is_the_isotonic_regression_of_scipy() -> None:
    rng = np.random.default_rng(0)
    given = (np.arange(200) + 0.5)[:, None] / 2.0
    wanted = given / 2 + rng.normal(0, 5, given.shape)
    expected = isotonic_regression(wanted[:, 0]).x
    found = _at_tones_of(wanted, given)[:, 0]
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found, expected, atol=0.6)  # two hundred values share 256 tones


@pytest.mark.parametrize("power", [0.5, 0.8, 1.6, 2.2])
def test_a_rising_tone_curve_changes_nothing(target: UInt8Images, power: float) -> None:
    for image in target[:4]:
        gray = np.repeat(image[..., 1:2], 3, axis=2)
        assert structure_ssim(gray, curved(gray, power)) > 0.98


def test_inverted_tones_and_lost_structure_are_told_in_either_direction(target: UInt8Images) -> None:
    flat = np.full_like(target[0], 128)
    assert structure_ssim(target[0], 255 - target[0]) < 0.5
    assert structure_ssim(target[0], flat) < 0.5
    assert structure_ssim(flat, target[0]) < 0.5


def test_nothing_and_nothing_are_alike() -> None:
    flat = np.full((20, 20, 3), 128, np.uint8)
    assert structure_ssim(flat, flat) == pytest.approx(1)
    assert edge_displacement(flat, flat, np.ones((20, 20), bool)) == 0


@pytest.mark.parametrize("moved", [3, 5])
def test_edges_moved_by_a_known_distance(moved: int) -> None:
    found = edge_displacement(cell(nucleus=15), cell(nucleus=15 + moved), EVERYWHERE)
    assert found * SIDE == pytest.approx(moved, abs=0.8)


def test_edges_did_not_move_where_only_color_changed() -> None:
    assert edge_displacement(cell(nucleus=15), cell(nucleus=20), ~EVERYWHERE) == 0
    assert edge_displacement(cell(), curved(cell(), 1.4), EVERYWHERE) * SIDE < 0.5


def test_edges_that_are_gone_are_as_far_as_the_picture_is_wide() -> None:
    flat = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert edge_displacement(cell(), flat, EVERYWHERE) == 1
