import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hemabridge.data.simulate import HOSPITALS, list_cells, render
from hemabridge.errors import InputError
from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.networks.config import UnetConfig
from hemabridge.translators.colorization_audit import LEAST_RANKED, chroma_agreement, chroma_error
from hemabridge.translators.colorization_nets import AB_RANGE, Colorizer
from hemabridge.translators.objective_config import ColorizationConfig


class Always(nn.Module):
    """Stands for a backbone: the same a and b everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tensor([6.0, 8.0]) / AB_RANGE).view(1, 2, 1, 1).expand(len(x), 2, *x.shape[2:])


def test_chroma_error_of_each_class_by_hand() -> None:
    """Gray cells colored a = 6, b = 8 are wrong by 10; cells that have that color are right, to rounding."""
    net = Colorizer(ColorizationConfig(backbone=UnetConfig(channels=1, levels=2)))
    net.backbone = Always()
    gray = np.full((2, 8, 8, 3), 128, np.uint8)
    tinted = lab_to_rgb(np.broadcast_to(np.array([60.0, 6.0, 8.0]), (1, 8, 8, 3)))
    images, labels = np.concatenate([gray, tinted, gray[:1]]), np.array([2, 2, 0, -1])
    errors = chroma_error(net, images, labels, ("monocyte", "blast", "lymphocyte"))
    assert set(errors) == {"monocyte", "lymphocyte"}
    assert errors["lymphocyte"] == pytest.approx(10, abs=0.4)
    assert errors["monocyte"] < 0.4


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    chosen = list_cells(("neutrophil", "eosinophil", "monocyte", "reactive_lymphocyte"), 6, 3)
    return np.stack([render(cell, HOSPITALS["clinic-like"], 48) for cell in chosen])


def test_images_agree_with_themselves_and_gray_ones_have_no_order(cells: np.ndarray) -> None:
    same = chroma_agreement(cells, cells)
    assert same.within_cells == pytest.approx(1)
    assert same.between_cells == pytest.approx(1)
    assert same.n_cells >= LEAST_RANKED
    gray = chroma_agreement(cells, np.full_like(cells, 128))
    assert (gray.within_cells, gray.between_cells, gray.n_cells) == (None, None, same.n_cells)


def test_less_chroma_keeps_the_order_but_invented_chroma_does_not(cells: np.ndarray) -> None:
    lab = rgb_to_lab(cells)
    pale = lab.copy()
    pale[..., 1:] *= 0.6
    paler = chroma_agreement(cells, lab_to_rgb(pale))
    assert paler.within_cells is not None
    assert paler.between_cells is not None
    assert paler.within_cells > 0.9
    assert paler.between_cells > 0.9
    invented = lab.copy()
    invented[..., 1:] = np.random.default_rng(0).normal(0, 6, invented[..., 1:].shape)
    random = chroma_agreement(cells, lab_to_rgb(invented))
    assert random.within_cells is not None
    assert abs(random.within_cells) < 0.15


def test_other_images_are_refused(cells: np.ndarray) -> None:
    with pytest.raises(InputError, match="the same images"):
        chroma_agreement(cells, cells[1:])
