import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hemabridge.data.simulate import (
    CLASSES,
    HOSPITALS,
    TARGET,
    Hospital,
    measured_reference,
    photograph,
    simulate_cells,
)
from hemabridge.data.simulate.camera import Camera
from hemabridge.data.simulate.stain import StainBath
from hemabridge.errors import ImageError, InputError
from hemabridge.imaging.color import delta_e_2000, rgb_to_lab

CLINIC = HOSPITALS[TARGET]
FOREIGN = tuple(name for name in HOSPITALS if name != TARGET)


def difference(first, second):
    return float(delta_e_2000(rgb_to_lab(first), rgb_to_lab(second)).mean())


def camera(**changes):
    return Hospital(name="other", camera=CLINIC.camera.model_copy(update=changes))


@pytest.fixture(scope="module")
def cells():
    """One noiseless cell of each class."""
    return simulate_cells(CLASSES, 1, CLINIC, 3, 64, noise=False)[0]


def test_the_hospital_of_the_images_gives_them_back(cells):
    same = photograph(cells, CLINIC, noise=False)
    assert np.abs(same.astype(int) - cells.astype(int)).max() <= 1
    assert difference(photograph(cells, CLINIC), cells) < 2.0


@pytest.mark.parametrize("name", FOREIGN)
def test_a_restyle_is_nearly_what_that_hospital_would_have_taken(cells, name):
    truth = simulate_cells(CLASSES, 1, HOSPITALS[name], 3, 64, noise=False)[0]
    restyled = photograph(cells, HOSPITALS[name], noise=False)
    assert difference(restyled, truth) < min(1.5, 0.2 * difference(cells, truth))


def test_an_image_is_restyled_alone_and_always_the_same(cells):
    before = cells.copy()
    together = photograph(cells, HOSPITALS["dark-blurred"])
    alone = photograph(cells[2:3], HOSPITALS["dark-blurred"])
    np.testing.assert_array_equal(together[2], alone[0])
    np.testing.assert_array_equal(cells, before)


def test_noise_follows_the_seed_and_is_what_the_hospital_has_more():
    gray = np.full((1, 64, 64, 3), (150, 140, 130), dtype=np.uint8)
    noisy = camera(noise=5.0, jpeg_quality=None)
    first, again, other = (photograph(gray, noisy, seed=seed).astype(int) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 1.0
    brightness = np.array([150, 140, 130]) / 127.5
    expected = np.sqrt((5.0**2 - 1.5**2) * (0.3 + 0.7 * brightness) + 1 / 12)
    np.testing.assert_allclose(first[0].std(axis=(0, 1)), expected, rtol=0.05)
    assert photograph(gray, camera(noise=1.0, jpeg_quality=None)).std(axis=(0, 1, 2)).max() == 0.0


def test_blur_is_measured_in_micrometers():
    edge = np.full((1, 64, 64, 3), 200, dtype=np.uint8)
    edge[:, :, 32:] = 120
    flat = Camera(gamma=1.0, flare=0.0, sharpening=0.0, shading=0.0, blur_um=0.0, noise=0.0, jpeg_quality=None)
    before, after = (Hospital(name="h", camera=flat.model_copy(update={"blur_um": blur})) for blur in (0.0, 0.5))
    got = photograph(edge, after, reference=before, um_per_px=0.2, noise=False)[0, :, :, 0]
    expected = gaussian_filter(edge[0, :, :, 0].astype(float), 0.5 / 0.2, mode="nearest")
    assert np.abs(got - expected).max() <= 1.0


def test_without_a_scale_the_shorter_side_shows_the_field():
    images = np.random.default_rng(0).integers(60, 220, (1, 36, 60, 3)).astype(np.uint8)
    soft = camera(blur_um=0.6)
    np.testing.assert_array_equal(
        photograph(images, soft, noise=False), photograph(images, soft, um_per_px=0.5, noise=False)
    )


def test_a_sharper_lens_brings_nothing_back(cells):
    soft, sharp = camera(blur_um=0.5), camera(blur_um=0.1)
    same = photograph(cells, sharp, reference=soft, noise=False)
    assert np.abs(same.astype(int) - cells.astype(int)).max() <= 1


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_burnt_out_images_stay_pictures(level):
    image = np.full((1, 24, 30, 3), level, dtype=np.uint8)
    restyled = photograph(image, HOSPITALS["yellow-field"], noise=False)
    assert restyled.shape == image.shape
    assert (restyled.mean() > 200) == (level == 255)


def test_more_dye_is_darker_and_less_is_lighter(cells):
    baths = (StainBath(azure_b=0.5, eosin_y=0.5), StainBath(), StainBath(azure_b=1.6, eosin_y=1.6))
    light = [photograph(cells, Hospital(name="h", bath=bath), noise=False).mean() for bath in baths]
    assert light[0] > light[1] + 3 > light[2] + 6


def test_the_reference_is_measured_where_the_glass_is_empty(cells):
    tinted = photograph(cells, camera(clear_field_rgb=(240.0, 240.0, 180.0), shading=0.0, flare=0.002), noise=False)
    measured = measured_reference(list(tinted))
    np.testing.assert_allclose(measured.camera.clear_field_rgb, (240, 240, 180), atol=5)
    assert measured.bath == CLINIC.bath
    with pytest.raises(InputError, match="at least one image"):
        measured_reference([])


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 4), (0, 8, 8, 3)])
def test_other_arrays_are_refused(shape):
    with pytest.raises(ImageError, match=r"expected RGB uint8\[N, H, W, 3\]"):
        photograph(np.zeros(shape, dtype=np.uint8), CLINIC)


def test_what_cannot_be_undone_is_refused(cells):
    with pytest.raises(InputError, match="saturation and clear field are above 0"):
        photograph(cells, CLINIC, reference=camera(saturation=0.0))
    with pytest.raises(InputError, match="expected a side of a pixel above 0"):
        photograph(cells, CLINIC, um_per_px=0.0)
