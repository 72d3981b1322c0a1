from typing import Literal

import numpy as np
import pytest
from PIL import Image
from skimage.draw import disk

from hemabridge.errors import ImageError
from hemabridge.imaging.scale import (
    CropSpec,
    check_shows_cell,
    crop_center,
    nucleus_diameter_px,
    resize_square,
    scale_matched,
    squeezed,
)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (9, 14, 3), dtype=np.uint8)


def test_crop_is_the_middle(picture: np.ndarray) -> None:
    np.testing.assert_array_equal(crop_center(picture, 5), picture[2:7, 4:9])


def test_crop_is_a_copy(picture: np.ndarray) -> None:
    before = picture.copy()
    crop_center(picture, 5)[:] = 0
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("crop_px", [10, 13, 14, 30])
def test_crop_repeats_the_edge_where_it_leaves_the_image(picture: np.ndarray, crop_px: int) -> None:
    padded = np.pad(picture, ((20, 20), (20, 20), (0, 0)), mode="edge")
    top, left = (9 - crop_px) // 2 + 20, (14 - crop_px) // 2 + 20
    np.testing.assert_array_equal(crop_center(picture, crop_px), padded[top : top + crop_px, left : left + crop_px])


@pytest.mark.parametrize(("size_px", "method"), [(4, Image.Resampling.LANCZOS), (20, Image.Resampling.BICUBIC)])
def test_resize_shrinks_with_lanczos_and_grows_with_bicubic(
    picture: np.ndarray, size_px: int, method: Image.Resampling
) -> None:
    square = picture[:, :9]
    expected = np.asarray(Image.fromarray(square.copy()).resize((size_px, size_px), method))
    np.testing.assert_array_equal(resize_square(square, size_px), expected)


def test_scale_matched_keeps_pixels_at_equal_size(picture: np.ndarray) -> None:
    np.testing.assert_array_equal(scale_matched(picture, 5, 5), picture[2:7, 4:9])
    assert scale_matched(picture, 12, 96).shape == (96, 96, 3)


def test_wrong_sizes_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(ImageError, match="square image to resize, got 14 x 9"):
        resize_square(picture, 5)
    with pytest.raises(ImageError, match="size_px of 1 to 10,000 pixels, got 0"):
        resize_square(picture[:, :9], 0)
    with pytest.raises(ImageError, match="crop_px of 1 to 10,000 pixels, got -3"):
        crop_center(picture, -3)
    for make in (lambda: crop_center(picture, 10_001), lambda: CropSpec(10**9, 32), lambda: CropSpec(32, 10**9)):
        with pytest.raises(ImageError, match="of 1 to 10,000 pixels, got 1"):  # before memory for it is asked for
            make()


def test_a_crop_spec_cuts_the_central_square_at_the_size_asked_for() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    image[1:5, 2:6] = 255  # the central square of 4 px, the only white
    np.testing.assert_array_equal(CropSpec(4, 4).cut(image), np.full((4, 4, 3), 255, np.uint8))
    np.testing.assert_array_equal(CropSpec(4, 2).cut(image), np.full((2, 2, 3), 255, np.uint8))
    np.testing.assert_array_equal(CropSpec(6, 6).cut(image), image[:, 1:7])


def test_a_crop_spec_of_whole_images_squeezes_them() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:] = 200
    cut = CropSpec("whole", 4).cut(image)
    assert cut.shape == (4, 4, 3)
    assert np.all(cut[:, 0] < 10)
    assert np.all(cut[:, -1] > 190)  # nothing of the sides was cut off
    np.testing.assert_array_equal(CropSpec("whole", 4).cut(image[:, :4]), image[:, :4])


@pytest.mark.parametrize("crop_px", [5, 12, "whole"])
def test_a_crop_spec_cuts_many_as_it_cuts_each(picture: np.ndarray, crop_px: int | Literal["whole"]) -> None:
    spec, images = CropSpec(crop_px, 7), np.stack([picture, 255 - picture])
    np.testing.assert_array_equal(spec.cut_all(images), [spec.cut(picture), spec.cut(255 - picture)])
    assert spec.cut_all(images[:0]).shape == (0, 7, 7, 3)


@pytest.mark.parametrize(("crop_px", "size_px", "named"), [(0, 4, "crop_px"), (4, 0, "size_px"), ("whole", -1, "size")])
def test_a_crop_spec_refuses_a_side_below_one(crop_px: int | Literal["whole"], size_px: int, named: str) -> None:
    with pytest.raises(ImageError, match=f"expected {named}"):
        CropSpec(crop_px, size_px)


@pytest.mark.parametrize("diameter", [40, 60])
@pytest.mark.parametrize("enlarged", [1, 3])
def test_diameter_of_a_drawn_nucleus(diameter: int, enlarged: int) -> None:
    image = np.full((150 * enlarged, 150 * enlarged, 3), (250, 240, 200), np.uint8)
    center = (75 * enlarged, 75 * enlarged)
    image[disk(center, diameter * enlarged * 0.75)] = (220, 190, 180)
    image[disk(center, diameter * enlarged / 2)] = (90, 40, 120)
    assert nucleus_diameter_px(image) == pytest.approx(diameter * enlarged, rel=0.05)


def test_blank_image_has_no_diameter() -> None:
    assert nucleus_diameter_px(np.full((50, 50, 3), 230, np.uint8)) is None


def test_squeezed_is_pillows_bicubic_of_the_whole_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(squeezed(image, 32), expected)


def test_an_image_of_few_pixels_shows_no_cell() -> None:
    check_shows_cell(np.zeros((8, 8, 3), np.uint8))
    for height, width in ((7, 90), (90, 7), (1, 1)):
        with pytest.raises(ImageError, match=f"at least 8 x 8 pixels, to show a cell, got {width} x {height}; "):
            check_shows_cell(np.zeros((height, width, 3), np.uint8))
