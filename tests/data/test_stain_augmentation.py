import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.data.stain_augmentation import StainAugmentationConfig, stain_augmented

STILL = StainAugmentationConfig(stain=0.0, blur=0.0, noise=0.0, zoom=0.0)


@pytest.fixture(scope="module")
def cells() -> NDArray[np.uint8]:
    return simulate_cells(("neutrophil", "eosinophil"), 8, HOSPITALS["clinic-like"], 0, 32)[0]


def test_looks_keep_shape_and_leave_the_images_alone(cells: NDArray[np.uint8]) -> None:
    before = cells.copy()
    stain_augmentation = stain_augmented(cells, StainAugmentationConfig(), np.random.default_rng(0))
    assert stain_augmentation.shape == cells.shape
    assert stain_augmentation.dtype == np.uint8
    np.testing.assert_array_equal(cells, before)


def test_looks_depend_on_the_random_generator_alone(cells: NDArray[np.uint8]) -> None:
    one, same, other = (
        stain_augmented(cells, StainAugmentationConfig(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_any_change_a_flat_image_stays_as_it_is() -> None:
    flat = np.full((4, 16, 16, 3), (200, 120, 60), dtype=np.uint8)
    np.testing.assert_array_equal(stain_augmented(flat, STILL, np.random.default_rng(0)), flat)


def test_only_the_stain_changes_colors_of_a_flat_image() -> None:
    flat = np.full((32, 16, 16, 3), (200, 120, 60), dtype=np.uint8)
    moved = stain_augmented(flat, STILL.model_copy(update={"zoom": 0.3, "blur": 0.05}), np.random.default_rng(0))
    np.testing.assert_array_equal(moved, flat)
    stained = stain_augmented(flat, STILL.model_copy(update={"stain": 0.25}), np.random.default_rng(0))
    assert (np.abs(stained.astype(int) - flat).max(axis=(1, 2, 3)) > 3).mean() > 0.9


def test_a_stronger_stain_moves_the_mean_color_further(cells: NDArray[np.uint8]) -> None:
    means = cells.mean(axis=(1, 2))
    moved = [
        np.abs(
            stain_augmented(cells, STILL.model_copy(update={"stain": stain}), np.random.default_rng(3)).mean(
                axis=(1, 2)
            )
            - means
        ).mean()
        for stain in (0.0, 0.25, 1.0)
    ]
    assert moved[0] < 2.0 < 2.0 * moved[1] < moved[2]


def test_contrast_raises_darkness_to_a_power_and_keeps_white() -> None:
    flat = np.full((400, 4, 4, 3), (255, 204, 102), dtype=np.uint8)  # darkness 0, 0.2, 0.6
    stain_augmentation = (
        stain_augmented(flat, STILL.model_copy(update={"contrast": 0.3}), np.random.default_rng(0))[:, 0, 0] / 255.0
    )
    assert (stain_augmentation[:, 0] == 1.0).all()
    exponents = np.log(np.maximum(1.0 - stain_augmentation[:, 1:], 1e-3)) / np.log([0.2, 0.6])
    np.testing.assert_allclose(exponents[:, 0], exponents[:, 1], atol=0.15)
    assert np.log(exponents[:, 0]).std() == pytest.approx(0.3, rel=0.1)


def test_blur_is_gaussian_and_within_its_bound() -> None:
    point = np.zeros((1, 33, 33, 3), dtype=np.uint8)
    point[0, 16, 16] = 255
    config = STILL.model_copy(update={"blur": 0.05, "blurred": 1.0})
    sharpest = gaussian_filter(np.float32(point[0, :, :, 0]), 0.05 * 33, mode="nearest").max()
    for seed in range(8):
        # The brightest pixel of a turned point stays where it was or next to it; a wider blur would be darker.
        brightest = stain_augmented(point, config, np.random.default_rng(seed))[0, 14:19, 14:19].max()
        assert brightest >= np.floor(0.5 * sharpest)


@pytest.mark.parametrize("field", ["stain", "blur", "noise", "zoom", "blurred"])
def test_negative_settings_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        StainAugmentationConfig.model_validate({field: -0.1})


def test_a_weak_stain_leaves_colored_glass_nearly_as_it_is() -> None:
    flat = np.full((64, 16, 16, 3), (250, 225, 170), dtype=np.uint8)
    stain_augmentation = stain_augmented(flat, STILL.model_copy(update={"stain": 0.02}), np.random.default_rng(0))
    assert np.abs(stain_augmentation.astype(int) - flat).max() < 12


def test_a_strong_stain_leaves_nothing_of_colored_glass() -> None:
    yellow, white = (np.full((64, 16, 16, 3), color, dtype=np.uint8) for color in ((250, 225, 170), (255, 255, 255)))
    strong = STILL.model_copy(update={"stain": 0.25})
    stain_augmentation = [
        stain_augmented(glass, strong, np.random.default_rng(0)).astype(int) for glass in (yellow, white)
    ]
    assert np.abs(stain_augmentation[0] - stain_augmentation[1]).max() <= 1


def test_without_zoom_no_color_is_mixed_of_two_pixels() -> None:
    rng = np.random.default_rng(0)
    checkerboards = np.where(rng.random((32, 16, 16, 1)) < 0.5, np.uint8(0), np.uint8(255)).repeat(3, axis=3)
    stain_augmentation = stain_augmented(checkerboards, STILL, rng)
    assert set(np.unique(stain_augmentation)) == {0, 255}
    assert not np.array_equal(stain_augmentation, checkerboards)
    zoomed = stain_augmented(checkerboards, STILL.model_copy(update={"zoom": 0.1}), rng)
    assert len(np.unique(zoomed)) > 2
