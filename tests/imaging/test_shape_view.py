import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.draw import disk

from hemabridge.imaging.compartments import segment
from hemabridge.imaging.shape_view import shape_views

SIDE = 96


def cell(field: tuple[int, int, int], cytoplasm: tuple[int, int, int], nucleus: tuple[int, int, int]) -> NDArray:
    image = np.full((SIDE, SIDE, 3), field, np.uint8)
    image[disk((48, 48), 32)] = cytoplasm
    image[disk((44, 50), 20)] = nucleus
    noise = np.random.default_rng(0).integers(-2, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_channels_are_nucleus_cell_and_relative_brightness() -> None:
    image = cell((235, 230, 225), (190, 180, 215), (90, 50, 140))
    (view,) = shape_views(image[None])
    masks = segment(image)
    np.testing.assert_array_equal(view[..., 0], masks.nucleus * np.uint8(255))
    np.testing.assert_array_equal(view[..., 1], masks.cell * np.uint8(255))
    nucleus, glass = np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)
    nucleus[disk((44, 50), 18)] = True
    glass[disk((48, 48), 36)] = False
    assert (view[..., 0] > 0)[nucleus].mean() > 0.97
    # By hand: glass is 1, dense chromatin 0.1 of 255.
    assert np.median(view[..., 2][glass]) == pytest.approx(255, abs=4)
    assert np.median(view[..., 2][nucleus]) == pytest.approx(25.5, abs=8)


def test_a_stain_of_other_hue_and_strength_and_another_lamp_hardly_change_the_view() -> None:
    # Densities of the second cell are 1.5 times those of the first, in other channels, under a yellow lamp.
    first = cell((235, 230, 225), (190, 180, 215), (90, 50, 140))
    second = cell((245, 235, 160), (150, 205, 120), (60, 45, 35))
    one, other = (shape_views(image[None])[0].astype(int) for image in (first, second))
    assert (np.abs(one[..., :2] - other[..., :2]) > 0).mean() < 0.02
    in_pixels = np.abs(first.astype(int) - second).mean()
    assert np.abs(one[..., 2] - other[..., 2]).mean() < in_pixels / 3


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_has_a_view_without_a_warning(value: int) -> None:
    images = np.full((2, 40, 40, 3), value, np.uint8)
    before = images.copy()
    views = shape_views(images)
    assert views.shape == images.shape
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    assert shape_views(images[:0]).shape == (0, 40, 40, 3)
