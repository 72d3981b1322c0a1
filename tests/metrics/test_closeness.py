from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, sobel
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from hemabridge.metrics.closeness import gradient_correlation, luminance_ssim, mean_delta_e_2000, psnr_db

Measure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]
MEASURES: list[Measure] = [psnr_db, mean_delta_e_2000, luminance_ssim, gradient_correlation]


def gray(value: int, size: int = 16) -> NDArray[np.uint8]:
    return np.full((1, size, size, 3), value, dtype=np.uint8)


def disc(radius: float, size: int = 48, inside: int = 80, outside: int = 220, shift: int = 0) -> NDArray[np.uint8]:
    y, x = np.mgrid[:size, :size] - size // 2
    mask = (x - shift) ** 2 + y**2 <= radius**2
    return np.where(mask[None, :, :, None], inside, outside).astype(np.uint8).repeat(3, axis=-1)


@pytest.fixture
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    smooth = gaussian_filter(rng.normal(size=(4, 24, 20, 3)), (0, 2, 2, 0))
    images = np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)
    noise = rng.integers(-20, 21, images.shape)
    return images, np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)


def test_psnr_agrees_with_scikit_image(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    expected = [peak_signal_noise_ratio(b, a, data_range=255) for a, b in zip(*pair, strict=True)]
    assert psnr_db(*pair) == pytest.approx(expected)


def test_psnr_by_hand() -> None:
    # All gray values 5 apart: MSE 25; equal images: MSE of rounding, 1/12.
    assert psnr_db(gray(100), gray(105)) == pytest.approx([10 * np.log10(65025 / 25)])
    assert psnr_db(gray(100), gray(100)) == pytest.approx([10 * np.log10(65025 * 12)])


def test_delta_e_agrees_with_scikit_image(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    expected = [deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).mean() for a, b in zip(*pair, strict=True)]
    assert mean_delta_e_2000(*pair) == pytest.approx(expected, abs=1e-3)


def test_delta_e_of_black_and_white_is_100() -> None:
    assert mean_delta_e_2000(gray(0), gray(255)) == pytest.approx([100.0], abs=0.01)


def test_ssim_of_two_flat_images_by_hand() -> None:
    # Without variance only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1), C1 = (0.01 * 100)^2.
    a, b = (float(rgb2lab(gray(value))[0, 0, 0, 0]) for value in (90, 160))
    assert luminance_ssim(gray(90), gray(160)) == pytest.approx([(2 * a * b + 1) / (a**2 + b**2 + 1)], abs=1e-4)


def test_ssim_agrees_with_the_paper_written_out(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    assert luminance_ssim(*pair) == pytest.approx(
        [ssim_written_out(a, b) for a, b in zip(*pair, strict=True)], abs=1e-4
    )


def ssim_written_out(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    x, y = rgb2lab(a)[..., 0], rgb2lab(b)[..., 0]

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return gaussian_filter(values, 1.5, truncate=3.5)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 1.0, 9.0
    map_ = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / (mean_x**2 + mean_y**2 + c1) / (var_x + var_y + c2)
    return float(map_[5:-5, 5:-5].mean())


def test_gradient_correlation_follows_an_independent_edge_filter(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    def edges(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        smooth = gaussian_filter(rgb2lab(image)[..., 0], 0.7, mode="nearest")
        return np.hypot(sobel(smooth, 0, mode="nearest"), sobel(smooth, 1, mode="nearest")).ravel()

    expected = [np.corrcoef(edges(a), edges(b))[0, 1] for a, b in zip(*pair, strict=True)]
    assert gradient_correlation(*pair) == pytest.approx(expected, abs=0.05)


def test_structure_measures_ignore_a_change_of_stain_and_see_a_moved_nucleus() -> None:
    original, restained, moved = disc(12), disc(12, inside=110, outside=235), disc(12, shift=8)
    assert gradient_correlation(restained, original)[0] > 0.99
    assert gradient_correlation(moved, original)[0] < 0.5
    assert luminance_ssim(restained, original)[0] > 0.9 > luminance_ssim(moved, original)[0]


def test_gradient_correlation_of_blank_images() -> None:
    assert gradient_correlation(gray(200, 48), gray(120, 48)) == pytest.approx([1.0])
    assert gradient_correlation(gray(200, 48), disc(12)) == pytest.approx([0.0])


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_gives_one_finite_value_per_image_and_leaves_its_input(
    measure: Measure, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    before = pair[0].copy()
    values = measure(*pair)
    assert values.shape == (4,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert np.array_equal(pair[0], before)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_refuses_what_is_no_stack(measure: Measure) -> None:
    with pytest.raises(ValueError, match=r"uint8\[N, H, W, 3\], got float64\[1, 16, 16, 3\]"):
        measure(gray(1).astype(np.float64), gray(1))
    with pytest.raises(ValueError, match="one shape"):
        measure(gray(1, 16), gray(1, 17))


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 px a side, got 8x8"):
        luminance_ssim(gray(1, 8), gray(1, 8))
