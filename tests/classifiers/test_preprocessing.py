import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms.functional import normalize, to_tensor

from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import ModelError
from hemabridge.imaging.shape_view import shape_views


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
