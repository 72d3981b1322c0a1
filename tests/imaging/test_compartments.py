from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.draw import disk

from hemabridge.imaging.compartments import WORK_PX, Compartments, background_color, segment
from hemabridge.imaging.files import read_image
from hemabridge.imaging.masks import dilated, eroded, opened, without_holes

WHITE_FIELD = ((255, 255, 255), (215, 160, 215), (90, 40, 150), (200, 170, 175))
YELLOW_FIELD = ((255, 250, 150), (210, 160, 100), (130, 25, 55), (225, 200, 110))
DARK_FIELD = ((150, 145, 140), (120, 95, 115), (60, 25, 80), (115, 85, 85))
CREAM_FIELD = ((250, 232, 200), (200, 170, 185), (75, 45, 125), (200, 165, 155))
FIELDS = {"white": WHITE_FIELD, "yellow": YELLOW_FIELD, "dark": DARK_FIELD, "cream": CREAM_FIELD}


def smear(colors: tuple[tuple[int, int, int], ...], side: int = 160, noise: float = 2.0) -> tuple[np.ndarray, dict]:
    """Draw a two-lobed cell with red cells beside it, one touching; return the image and the true masks."""
    field, cytoplasm, nucleus, red = colors
    unit = side / 160
    cell, lobes, reds = (np.zeros((side, side), bool) for _ in range(3))
    cell[disk((80 * unit, 80 * unit), 32 * unit)] = True
    for center in ((70, 68), (92, 92)):
        lobes[disk((center[0] * unit, center[1] * unit), 13 * unit)] = True
    for center in ((80, 131), (25, 30), (135, 40), (130, 125), (22, 110)):
        reds[disk((center[0] * unit, center[1] * unit), 19 * unit)] = True
    reds &= ~cell
    image = np.empty((side, side, 3), np.float64)
    for mask, color in ((np.ones_like(cell), field), (reds, red), (cell, cytoplasm), (lobes, nucleus)):
        image[mask] = color
    image = ndimage.gaussian_filter(image, (unit, unit, 0))
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    truth = {"nucleus": lobes, "cell": cell, "red_cells": reds, "background": ~(cell | reds)}
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), truth


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


def assert_consistent(found: Compartments, shape: tuple[int, int]) -> None:
    masks = (found.nucleus, found.cytoplasm, found.red_cells, found.background)
    for mask in masks:
        assert mask.shape == shape
        assert mask.dtype == np.bool_
    assert np.sum(masks, axis=0).max() <= 1


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("side", [120, 160, 400])
def test_a_drawn_smear_is_found_under_every_light(field: str, side: int) -> None:
    image, truth = smear(FIELDS[field], side)
    found = segment(image)
    assert_consistent(found, image.shape[:2])
    assert dice(found.nucleus, truth["nucleus"]) > 0.93
    assert dice(found.cell, truth["cell"]) > 0.93
    assert dice(found.red_cells, truth["red_cells"]) > 0.9
    assert dice(found.background, truth["background"]) > 0.95


def test_a_dimmer_lamp_changes_little() -> None:
    image, _ = smear(CREAM_FIELD, noise=0)
    dimmer = np.rint(image * 0.6).astype(np.uint8)
    assert dice(segment(image).nucleus, segment(dimmer).nucleus) > 0.98


def test_both_lobes_belong_to_the_nucleus() -> None:
    image, _ = smear(WHITE_FIELD)
    assert ndimage.label(segment(image).nucleus)[1] == 2


def test_nucleus_of_a_neighbor_is_left_out() -> None:
    image, truth = smear(CREAM_FIELD)
    image[disk((25, 30), 14)] = CREAM_FIELD[2]
    found = segment(image)
    assert dice(found.nucleus, truth["nucleus"]) > 0.93
    assert not (found.cell | found.red_cells | found.background)[20:30, 25:35].any()


def test_orange_granules_are_cytoplasm() -> None:
    _, _, nucleus, red = CREAM_FIELD
    image, truth = smear((CREAM_FIELD[0], (215, 110, 95), nucleus, red))
    found = segment(image)
    assert dice(found.nucleus, truth["nucleus"]) > 0.93
    assert dice(found.cell, truth["cell"]) > 0.93


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 2), (3, 200), (33, 64), (300, 2)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_image_is_all_background(shape: tuple[int, int], value: int) -> None:
    found = segment(np.full((*shape, 3), value, np.uint8))
    assert_consistent(found, shape)
    assert found.background.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 2), (5, 7), (64, 33), (500, 3), (200, 200)])
def test_noise_gives_masks_and_no_crash(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert_consistent(segment(image), shape)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 4), (3, 1), (2, 2), (1, 400), (400, 1), (9, 9)])
def test_a_picture_of_two_flat_colors_gives_masks_and_no_crash(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (250, 250, 250), np.uint8)
    image.reshape(-1, 3)[shape[0] * shape[1] // 2 :] = (60, 10, 120)
    found = segment(image)
    assert found.nucleus.shape == shape
    assert (found.nucleus | found.cytoplasm | found.red_cells | found.background).sum() <= shape[0] * shape[1]


def test_input_is_untouched_and_the_answer_repeats() -> None:
    image, _ = smear(YELLOW_FIELD)
    before = image.copy()
    first, second = segment(image), segment(image)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(first.nucleus, second.nucleus)
    np.testing.assert_array_equal(first.cell, second.cell)


@pytest.mark.parametrize("field", FIELDS)
def test_background_color_is_the_field(field: str) -> None:
    image, _ = smear(FIELDS[field])
    np.testing.assert_allclose(background_color(image), FIELDS[field][0], atol=2)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_erosion_opening_and_holes_are_scipys(share: float, times: int) -> None:
    generator = np.random.default_rng(times)
    for shape in ((1, 1), (1, 9), (2, 3), (40, 31)):
        mask = ndimage.gaussian_filter(generator.random(shape), 1) > np.quantile(generator.random(shape), share)
        np.testing.assert_array_equal(eroded(mask, times), ndimage.binary_erosion(mask, iterations=times))
        np.testing.assert_array_equal(opened(mask, times), ndimage.binary_opening(mask, iterations=times))
        np.testing.assert_array_equal(dilated(mask, times), ndimage.binary_dilation(mask, iterations=times))
        np.testing.assert_array_equal(without_holes(mask), ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize("shape", [(330, 330), (363, 360), (161, 90), (400, 171)])
def test_masks_of_a_large_image_are_those_of_its_small_picture_each_resized_by_itself(shape: tuple[int, int]) -> None:
    image = np.asarray(Image.fromarray(smear(CREAM_FIELD, 300)[0]).resize(shape[::-1]))
    factor = max(shape) / WORK_PX
    small = Image.fromarray(image).resize((round(shape[1] / factor), round(shape[0] / factor)), Image.Resampling.BOX)
    found, of_small = segment(image), segment(np.asarray(small))
    for name in ("nucleus", "cytoplasm", "red_cells", "background"):
        wanted = np.asarray(Image.fromarray(getattr(of_small, name)).resize(shape[::-1]))
        np.testing.assert_array_equal(getattr(found, name), wanted)
    assert found.nucleus.any()


def test_background_color_is_a_median_of_each_channel() -> None:
    image = np.full((20, 20, 3), (250, 240, 230), np.uint8)
    image[::2] = (251, 240, 225)
    np.testing.assert_array_equal(background_color(image), [250.5, 240, 227.5])


def test_the_brightest_peak_is_that_of_scipys_gaussian() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        image = np.clip(rng.normal(rng.integers(60, 250), rng.integers(2, 60), (37, 41, 3)), 0, 255).astype(np.uint8)
        smooth = ndimage.gaussian_filter1d(
            np.bincount(image[..., 1].ravel(), minlength=256).astype(float), 3, mode="nearest"
        )
        inner = np.concatenate([[-1], smooth, [-1]])
        peaks = (smooth > inner[:-2]) & (smooth >= inner[2:]) & (smooth >= 0.2 * smooth.max())
        near = np.abs(image[..., 1].astype(int) - np.flatnonzero(peaks)[-1]) <= 4
        np.testing.assert_array_equal(background_color(image), np.median(image[near], axis=0))


def test_glints_are_not_the_background() -> None:
    image, _ = smear(DARK_FIELD)
    image[3:6, 3:6] = 255
    np.testing.assert_allclose(background_color(image), DARK_FIELD[0], atol=2)


def test_masks_are_those_of_what_an_image_holds_now_and_only_to_be_read() -> None:
    image, _ = smear(WHITE_FIELD, 96)
    first = segment(image)
    image[:] = np.roll(image, 6, axis=0)
    moved = segment(image)
    assert dice(moved.nucleus, np.roll(first.nucleus, 6, axis=0)) > 0.95
    assert dice(moved.nucleus, first.nucleus) < 0.9
    with pytest.raises(ValueError, match="read-only"):
        moved.nucleus[:] = True


@pytest.mark.shared
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_expert_masks(shared_data: Path, every: int) -> None:
    paths = sorted((shared_data / "tecom").glob("[!_]*/*.bmp"))[::every]
    scores = []
    for path in paths:
        truth = read_image(shared_data / "tecom" / "_masks" / f"{path.stem}.png")[..., 0]
        found = segment(read_image(path))
        scores.append((dice(found.nucleus, truth == 255), dice(found.cell, truth >= 128)))
    assert len(scores) == 300 // every
    nucleus, cell = np.median(scores, axis=0)
    assert nucleus >= 0.95
    assert cell >= 0.96


@pytest.mark.shared
def test_every_clinic_class_shows_a_plausible_nucleus(shared_data: Path) -> None:
    for folder in sorted((shared_data / "clinic").iterdir()):
        shares = [segment(read_image(path)).nucleus.mean() for path in sorted(folder.glob("*.jpg"))[:6]]
        assert np.min(shares) > 0.01, folder.name
        assert np.max(shares) < 0.3, folder.name
