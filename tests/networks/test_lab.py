import numpy as np
import pytest
import torch
from skimage import color

from hemabridge.networks.lab import lab_to_rgb, outside_gamut, rgb_to_lab


def cube(step: int = 17) -> np.ndarray:
    """All colors of a grid over sRGB, uint8[1, N, N * N, 3]."""
    levels = np.arange(0, 256, step, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return grid.reshape(1, len(levels), -1, 3)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64)).permute(0, 3, 1, 2)


def test_lab_is_that_of_scikit_image() -> None:
    rgb = cube()
    lab = rgb_to_lab(tensor(rgb) / 127.5 - 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(lab - color.rgb2lab(rgb.astype(np.float64) / 255)).max() < 1e-9


def test_way_back_is_that_of_scikit_image_which_clips() -> None:
    rng = np.random.default_rng(0)
    lab = np.stack([rng.uniform(20, 90, (1, 20, 20)), *rng.uniform(-30, 30, (2, 1, 20, 20))], axis=-1)
    ours = (lab_to_rgb(tensor(lab)).clamp(-1, 1) + 1) / 2
    assert np.abs(ours.permute(0, 2, 3, 1).numpy() - color.lab2rgb(lab)).max() < 1e-7


def test_every_color_comes_back_and_lies_inside_the_gamut() -> None:
    rgb = (tensor(cube()) / 127.5 - 1).float()
    back = lab_to_rgb(rgb_to_lab(rgb))
    assert (back - rgb).abs().max().item() < 1e-4
    assert not outside_gamut(back).any()


def test_gamut_by_hand() -> None:
    """White, a gray, a red that sRGB has (L 53.24, a 80.09, b 67.20), and three colors that it has not."""
    lab = [(100, 0, 0), (50, 0, 0), (53.24, 80.09, 67.20), (50, 110, 0), (97, -60, 0), (20, 0, -110)]
    pixels = torch.tensor(lab).T.reshape(1, 3, 2, 3)
    assert outside_gamut(lab_to_rgb(pixels)).flatten().tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize(("value", "outside"), [(1 + 0.9 / 255, False), (1 + 1.1 / 255, True), (-1 - 1.1 / 255, True)])
def test_rounding_of_half_a_level_is_not_outside(value: float, outside: bool) -> None:
    # The step between two 8-bit levels is 2 / 255 here, half of it 1 / 255.
    image = torch.zeros(1, 3, 1, 1)
    image[0, 1] = value
    assert outside_gamut(image).item() is outside


def test_gradients_are_finite_even_in_black() -> None:
    for convert, start in ((rgb_to_lab, -torch.ones(1, 3, 2, 2)), (lab_to_rgb, torch.zeros(1, 3, 2, 2))):
        start.requires_grad_()
        convert(start).sum().backward()
        assert start.grad is not None
        assert start.grad.isfinite().all()
        assert start.grad.abs().sum() > 0
