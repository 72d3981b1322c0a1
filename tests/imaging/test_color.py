import numpy as np
import pytest
from skimage import color

from hemabridge.imaging.color import delta_e_2000, lab_to_rgb, lightness, optical_density, rgb_to_lab

# Sharma, Wu and Dalal (2005), Table 1: pair, L a b of both colors, CIEDE2000 to four decimals.
SHARMA = np.array(
    [
        [50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425],
        [50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615],
        [50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412],
        [50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669],
        [50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461],
        [50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065],
        [50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492],
        [50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977],
        [50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030],
        [50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)


def test_ciede2000_of_the_published_pairs() -> None:
    found = delta_e_2000(SHARMA[:, :3], SHARMA[:, 3:6])
    np.testing.assert_allclose(found, SHARMA[:, 6], atol=1e-4)
    np.testing.assert_allclose(delta_e_2000(SHARMA[:, 3:6], SHARMA[:, :3]), found, atol=1e-5)
    assert found.dtype == np.float32


def test_ciede2000_keeps_the_image_shape() -> None:
    lab = np.full((2, 5, 4, 3), 50, np.float32)
    assert delta_e_2000(lab, lab).shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # Lindbloom's calculator, sRGB, D65: primaries, white, middle gray
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.74, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colors(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    found = rgb_to_lab(np.array(rgb, np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, lab, atol=0.03)


def test_every_eighth_color_survives_the_round_trip() -> None:
    levels = np.r_[0:256:8, 255].astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    np.testing.assert_array_equal(lab_to_rgb(rgb_to_lab(colors)), colors)
    np.testing.assert_allclose(rgb_to_lab(colors), color.rgb2lab(colors), atol=1e-2)


def test_lab_is_scikit_images() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (200, 100, 3), np.uint8)
    np.testing.assert_allclose(rgb_to_lab(colors), color.rgb2lab(colors / 255.0), atol=1e-3)


def test_srgb_of_any_lab_is_scikit_images_within_one_level() -> None:
    lab = np.random.default_rng(0).uniform([20, -90, -90], [100, 90, 30], (200, 100, 3))
    wanted = np.rint(np.clip(color.lab2rgb(lab), 0, 1) * 255)
    difference = np.abs(lab_to_rgb(lab).astype(float) - wanted)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_colors_outside_srgb_are_clipped_in_silence() -> None:
    lab = np.array([[50, 200, 0], [10, 0, 120], [120, 0, 0], [-5, 0, 0], [20, -100, -100]], np.float32)
    found = lab_to_rgb(lab)
    assert found.dtype == np.uint8
    assert found[2].tolist() == [255, 255, 255]
    assert found[3].tolist() == [0, 0, 0]
    assert found[0, 0] == 255


def test_optical_density_of_hand_worked_values() -> None:
    pixels = np.array([[255, 51, 0], [128, 64, 255]], np.uint8)
    expected = [[0, np.log10(5), np.log10(255)], [np.log10(255 / 128), np.log10(255 / 64), 0]]
    np.testing.assert_allclose(optical_density(pixels), expected, rtol=1e-6)
    assert optical_density(pixels).dtype == np.float32


def test_optical_density_against_a_white_per_channel() -> None:
    found = optical_density(np.array([100, 100, 100], np.uint8), white=[200, 100, 50])
    np.testing.assert_allclose(found, [np.log10(2), 0, -np.log10(2)], atol=1e-7)


def test_density_doubles_with_the_layer() -> None:
    one = optical_density(np.array([[90, 160, 200]], np.uint8))
    light = 255 * (np.array([90, 160, 200]) / 255) ** 2  # Beer-Lambert: two layers multiply transmission
    np.testing.assert_allclose(optical_density(np.rint(light).astype(np.uint8)), 2 * one[0], atol=0.01)


def test_lightness_is_that_of_lab_in_double_precision() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert lightness(image).dtype == np.float64
    np.testing.assert_allclose(lightness(image), color.rgb2lab(image)[..., 0], atol=1e-9)
