import numpy as np
import pytest

from hemabridge.data.simulate.camera import Camera, developed, digitize, expose, record, shading, undeveloped
from hemabridge.data.simulate.stain import WAVELENGTHS_NM
from hemabridge.errors import InputError

FLAT = {"shading": 0.0, "sharpening": 0.0, "blur_um": 0.0}


def light(level, side=32):
    return np.full((len(WAVELENGTHS_NM), side, side), level, dtype=np.float32)


@pytest.mark.parametrize("kelvin", [2800.0, 6500.0])
def test_empty_glass_has_the_clear_field_color_under_any_lamp(kelvin):
    camera = Camera(lamp_kelvin=kelvin, clear_field_rgb=(250.0, 230.0, 200.0), **FLAT)
    np.testing.assert_allclose(expose(light(1.0), camera, 16), np.broadcast_to((250, 230, 200), (16, 16, 3)), rtol=1e-4)


def test_gray_filter_follows_gamma_and_flare():
    camera = Camera(gamma=2.0, flare=0.1, clear_field_rgb=(200.0, 200.0, 200.0), **FLAT)
    assert expose(light(0.25), camera, 16)[0, 0] == pytest.approx(200.0 * (0.35 / 1.1) ** 0.5, rel=1e-4)


def test_light_of_long_wavelength_is_red():
    passed = light(0.0)
    passed[WAVELENGTHS_NM >= 600] = 1.0
    red, green, blue = expose(passed, Camera(**FLAT), 16)[8, 8]
    assert red > 2 * green > 2 * blue


def test_blur_spreads_and_keeps_the_mean():
    passed = light(1.0, 64)
    passed[:, 30:34, 30:34] = 0.0
    sharp = expose(passed, Camera(gamma=1.0, flare=0.0, **FLAT), 32)
    soft = expose(passed, Camera(gamma=1.0, flare=0.0, **{**FLAT, "blur_um": 0.6}), 32)
    assert soft.min() > sharp.min() + 50
    assert soft.mean() == pytest.approx(sharp.mean(), rel=1e-3)


def test_shading_darkens_the_lower_right_corner():
    picture = expose(light(1.0), Camera(gamma=1.0, flare=0.0, **{**FLAT, "shading": 0.2}), 32)
    assert picture[-1, -1, 0] == pytest.approx(0.8 * picture[0, 0, 0], rel=0.01)


def test_noise_has_the_stated_deviation_in_mid_gray():
    gray = np.full((64, 64, 3), 127.5, dtype=np.float32)
    image = record(gray, Camera(noise=4.0, jpeg_quality=None), np.random.default_rng(0))
    assert image.std() == pytest.approx(4.0, rel=0.05)


def test_record_is_deterministic_and_jpeg_changes_it():
    gray = np.random.default_rng(1).uniform(60, 200, (32, 32, 3)).astype(np.float32)
    first, again = (record(gray, Camera(jpeg_quality=60), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != record(gray, Camera(jpeg_quality=None), np.random.default_rng(5)))


def test_digitize_rounds_and_clips():
    np.testing.assert_array_equal(digitize(np.array([-3.0, 1.6, 300.0], np.float32)), [0, 2, 255])


def test_light_can_be_told_from_the_picture():
    light = np.random.default_rng(0).uniform(0.05, 0.95, (3, 8, 8)).astype(np.float32)
    camera = Camera(flare=0.03, saturation=0.8, gamma=2.1, clear_field_rgb=(240.0, 230.0, 150.0))
    np.testing.assert_allclose(undeveloped(developed(light, camera), camera), light, atol=1e-5)


@pytest.mark.parametrize("change", [{"saturation": 0.0}, {"clear_field_rgb": (240.0, 0.0, 240.0)}])
def test_no_light_can_be_told_without_color_or_exposure(change):
    with pytest.raises(InputError, match="above 0 to recover light"):
        undeveloped(np.zeros((3, 4, 4), np.float32), Camera(**change))


def test_each_corner_gets_its_share_of_the_light():
    got = shading((3, 5), Camera(shading=0.2))
    assert got.shape == (3, 5)
    np.testing.assert_allclose(got[[0, -1, 0, 1], [0, -1, -1, 2]], [1.0, 0.8, 0.9, 0.9], rtol=1e-6)
