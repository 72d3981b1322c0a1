import dataclasses
import math

import numpy as np
import pytest
import torch
from small_colorizers import MODELS, noise
from torch import Tensor, nn
from toy import cpu

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.networks.lab import rgb_to_lab as tensor_to_lab
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine
from hemabridge.training.schedules import Constant
from hemabridge.translators.batches import from_network, to_network
from hemabridge.translators.catalog import new_objective
from hemabridge.translators.colorization import Colorization, GrayThenColor, Painted, recolored
from hemabridge.translators.colorization_nets import AB_RANGE, Colorizer
from hemabridge.translators.neural import NeuralStandardizer


class Answer(nn.Module):
    """Stands for a backbone that always gives the same channels, or a discriminator that scores every pixel alike."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values).view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(len(x), -1, *x.shape[2:])


def test_scaling_and_losses_by_hand() -> None:
    model = Colorization(MODELS["ab"])
    model.to_target.backbone = Answer(0.25, -0.5)
    model.discriminator_target.layers = nn.Sequential(Answer(0.3))
    target = to_network(np.full((1, 8, 8, 3), (200, 120, 150), np.uint8))
    painted = model.forward({"source": target * 0, "target": target})
    lab = rgb_to_lab(np.full((1, 1, 3), (200, 120, 150), np.uint8))[0, 0]
    assert painted.given[0, 0, 0, 0].item() == pytest.approx(lab[0] / 50 - 1, abs=1e-5)
    assert painted.real[0, :, 0, 0].tolist() == pytest.approx((lab[1:] / 110).tolist(), abs=1e-5)
    p = 1 / (1 + math.exp(-0.3))
    terms = {name: term.item() for name, term in model.generator_losses(painted).items()}
    far = (abs(0.25 - lab[1] / 110) + abs(-0.5 - lab[2] / 110)) / 2
    assert terms == pytest.approx({"adversarial_target": -math.log(p), "l1_target": 100 * far}, rel=1e-4)
    loss = model.discriminator_losses(painted)["discriminator_target"].item()
    assert loss == pytest.approx(0.5 * (-math.log(p) - math.log(1 - p)), rel=1e-5)


def test_the_judge_sees_what_was_given_beside_the_color() -> None:
    model = Colorization(MODELS["ab"])
    seen: list[Tensor] = []
    model.discriminator_target.layers.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    painted = Painted(torch.full((1, 1, 16, 16), 0.1), torch.full((1, 2, 16, 16), 0.2), torch.full((1, 2, 16, 16), 0.3))
    model.discriminator_losses(painted)
    assert [image[0, :, 0, 0].tolist() for image in seen] == [pytest.approx([0.1, v, v]) for v in (0.3, 0.2)]


@pytest.mark.parametrize("name", MODELS)
def test_judges_step_first_and_the_generator_then_faces_the_judge_after_its_step(name: str) -> None:
    torch.manual_seed(0)
    model = new_objective(MODELS[name])
    assert [phase.trains[-1] for phase in model.phases] == ["discriminator_target", "to_target"]
    order: list[str] = []
    discriminator = dict(model.nets["discriminator_target"].named_parameters())["layers.0.weight"]
    before, after = discriminator.detach().clone(), []
    first, second = model.phases
    model.phases = (  # type: ignore[misc]
        dataclasses.replace(first, losses=lambda shared: (order.append("discriminator"), first.losses(shared))[1]),
        dataclasses.replace(
            second,
            losses=lambda shared: (
                order.append("generator"),
                after.append(discriminator.detach().clone()),
                second.losses(shared),
            )[2],
        ),
    )
    engine = Engine(cpu(), model, OptimizerConfig(beta1=0.5), dict.fromkeys(model.nets, Constant(1e-2)))
    engine.step({"source": to_network(noise(0, 2)), "target": to_network(noise(1, 2))}, 0)
    assert order == ["discriminator", "generator"]
    assert not torch.equal(after[0], before)


def test_luminance_is_kept_to_rounding_inside_the_gamut() -> None:
    """What comes out has the matched luminance; 8 bits move L by at most 0.5, on average by less than 0.15."""
    torch.manual_seed(3)
    model = Colorizer(MODELS["ab"]).eval()
    model.measure(noise(0, 4), noise(1, 4) // 2 + 60)
    images = to_network(noise(0, 4, 33))
    with torch.no_grad():
        colored = model.color(images)
    kept = rgb_to_lab(from_network(colored.images))[..., 0]
    off = np.abs(kept - colored.luminance[:, 0].numpy())[~colored.outside.numpy()]
    assert len(off) > 1000
    assert off.max() < 0.5
    assert off.mean() < 0.15


def test_clipped_pixels_are_counted_by_hand() -> None:
    """a = 0.9 * 110 is inside sRGB at no luminance; a = b = 0 everywhere is."""
    model = Colorizer(MODELS["ab"])
    images = to_network(noise(0, 2, 8))
    model.backbone = Answer(0.0, 0.0)
    assert model.color(images).clipped_fraction.tolist() == [0.0, 0.0]
    model.backbone = Answer(0.9, 0.0)
    colored = model.color(images)
    assert colored.clipped_fraction.tolist() == [1.0, 1.0]
    assert colored.images.abs().max().item() <= 1.0


def test_half_of_the_pixels_clipped_is_one_half() -> None:
    """b = 60: sRGB has that at L 80 (a dull yellow: 230, 195, 82) and not at L 8, nearly black."""
    model = Colorizer(MODELS["ab"].model_copy(update={"match_luminance": False}))
    model.backbone = Answer(0.0, 60 / AB_RANGE)
    light = np.zeros((1, 4, 4, 3), np.uint8)
    light[:, :2], light[:, 2:] = 198, 23
    assert model.color(to_network(light)).clipped_fraction.tolist() == [0.5]


def test_measuring_brings_the_source_s_luminance_into_the_target_s_range() -> None:
    source, target = noise(0, 6), noise(1, 6) // 3 + 150
    model = Colorizer(MODELS["ab"])
    model.measure(source, target)
    with torch.no_grad():
        matched = model.color(to_network(source)).luminance.numpy()
    wanted = rgb_to_lab(target)[..., 0]
    steps = np.linspace(0.02, 0.98, 9)
    assert np.abs(np.quantile(matched, steps) - np.quantile(wanted, steps)).max() < 0.2
    plain = Colorizer(MODELS["ab"].model_copy(update={"match_luminance": False}))
    plain.measure(source, target)
    lab = tensor_to_lab(to_network(source))
    assert torch.allclose(plain.color(to_network(source)).luminance, lab[:, :1], atol=1e-3) is True


def test_the_hint_is_the_average_chroma_in_standard_deviations_of_the_site() -> None:
    model = Colorizer(MODELS["ab-hint"])
    chroma = torch.zeros(1, 2, 10, 6)
    chroma[:, 0], chroma[:, 1] = 30.0, -8.0
    hint = model.hint(chroma, torch.tensor([[10.0, 0.0], [5.0, 4.0]]))
    assert hint is not None
    assert hint.shape == chroma.shape
    assert hint[0, 0].unique().tolist() == [4.0]
    assert hint[0, 1].unique().tolist() == [-2.0]
    checker = torch.ones(1, 2, 8, 8)
    checker[..., ::2] = -1.0
    fine = model.hint(checker, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert fine is not None
    assert fine.abs().max().item() == 0.0  # what is finer than a square is averaged away
    assert Colorizer(MODELS["ab"]).hint(chroma, model.source_chroma) is None


@pytest.mark.parametrize("name", MODELS)
def test_restaining_is_deterministic_alone_or_in_a_batch_at_any_size(name: str) -> None:
    torch.manual_seed(0)
    model = new_objective(MODELS[name])
    model.measure_sites(noise(0, 4), noise(1, 4))
    standardizer = NeuralStandardizer(model.nets["to_target"])
    images = noise(2, 3, 21)[:, :, :13]
    once = standardizer.standardize(images)
    assert once.shape == images.shape
    assert np.array_equal(standardizer.standardize(images), once)
    alone = np.concatenate([standardizer.standardize(image[None]) for image in images])
    assert np.abs(alone.astype(int) - once).max() <= 1


def test_recoloring_changes_channels_by_no_more_than_it_may_and_nothing_without_strength() -> None:
    torch.manual_seed(0)
    images = to_network(noise(0, 8))
    assert (
        torch.allclose(recolored(images, 0.0), images, atol=2.1e-3) is True
    )  # black becomes a thousandth of the light
    light = (recolored(torch.zeros(400, 3, 1, 1), 0.5) + 1) / 2  # from 0.5
    low, high = math.exp(-0.5) * 0.5 ** math.exp(0.5), 0.5 ** math.exp(-0.5)
    assert low < light.min().item() < light.max().item() < high
    assert light.max().item() - light.min().item() > 0.6 * (high - low)


def test_the_second_step_of_gray_then_color_teaches_the_first_nothing() -> None:
    model = GrayThenColor(MODELS["gray-then-color"])
    faded = model.forward({"source": to_network(noise(0, 2)), "target": to_network(noise(1, 2))})
    model.generator_losses(faded)["l1_target"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.to_target.fading.parameters())
    assert any(p.grad is not None for p in model.to_target.coloring.parameters())
    wanted = rgb_to_lab(noise(1, 2))[..., 0] / 50 - 1
    assert np.abs(faded.gray.real[:, 0].numpy() - wanted).max() < 1e-4
