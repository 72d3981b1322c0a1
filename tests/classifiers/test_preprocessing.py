import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from skimage.draw import disk
from torchvision.transforms.functional import normalize, to_tensor

from hemabridge.classifiers.preprocessing import Preprocessing, shape_views
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import ModelError
from hemabridge.imaging.compartments import segment


def test_input_by_hand() -> None:
    preprocessing = Preprocessing(size_px=8, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, 2, 5] = (255, 51, 102)
    found = preprocessing(image)
    assert found.shape == (1, 3, 8, 8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 2, 5], [1.0, -0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(found[0, :, 0, 0], [-1.0, -1.0, 0.0], atol=1e-6)


def test_defaults_equal_torchvisions_imagenet_transform() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = normalize(to_tensor(image), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    found = torch.from_numpy(Preprocessing(size_px=32)(image[None])[0].copy())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_images_of_another_size_are_resized_by_pillow_and_kept_untouched() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    before = images.copy()
    found = Preprocessing(size_px=32).prepare(images)
    expected = np.array(Image.fromarray(images[1]).resize((32, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(found[1], expected)
    assert np.array_equal(images, before)


def test_no_images_give_no_input() -> None:
    assert Preprocessing(size_px=32)(np.zeros((0, 48, 48, 3), np.uint8)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("shape", [(1, 8, 9, 3), (8, 8, 3), (1, 8, 8, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"expected square RGB images uint8\[N, S, S, 3\], got uint8"):
        Preprocessing(size_px=8)(np.zeros(shape, np.uint8))


def test_floats_are_refused() -> None:
    with pytest.raises(ModelError, match="got float64"):
        Preprocessing(size_px=8)(np.zeros((1, 8, 8, 3)))


def test_a_deviation_of_0_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Preprocessing(std=(0.2, 0.0, 0.2))


def test_a_classifier_of_shape_sees_the_view_found_at_full_size() -> None:
    images, _ = simulate_cells(("neutrophil",), 2, HOSPITALS["clinic-like"], seed=0, size_px=64)
    found = Preprocessing(size_px=32, view="shape").prepare(images)
    whole = shape_views(images)
    expected = np.array(Image.fromarray(whole[1]).resize((32, 32), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(found[1], expected)


def test_settings_of_color_are_written_as_before_there_was_a_view() -> None:
    assert "view" not in Preprocessing(size_px=32).model_dump()
    assert Preprocessing(size_px=32, view="shape").model_dump()["view"] == "shape"


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
