import numpy as np
import pytest
import torch
from torch import nn

from hemabridge.networks.catalog import DISCRIMINATORS, new_discriminator
from hemabridge.networks.config import (
    DiscriminatorConfig,
    DiscriminatorNorm,
    MultiScaleDiscriminatorConfig,
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    ResnetGeneratorConfig,
)
from hemabridge.networks.discriminators import MultiScaleDiscriminator, PatchDiscriminator, PixelDiscriminator
from hemabridge.networks.resnet_generator import ResnetGenerator

CONFIGS: dict[str, DiscriminatorConfig] = {
    "patch": PatchDiscriminatorConfig(channels=4, layers=2),
    "pixel": PixelDiscriminatorConfig(channels=4),
    "multi-scale": MultiScaleDiscriminatorConfig(channels=4, layers=1, colors=True),
}


def pictures(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side)) * 2 - 1


def test_every_kind_is_made_from_its_configuration() -> None:
    assert set(CONFIGS) == set(DISCRIMINATORS)
    for kind, config in CONFIGS.items():
        scores = new_discriminator(config)(pictures())
        assert (config.kind, scores.shape[0], scores.ndim) == (kind, 2, 4)


def test_the_judge_of_pixels_sees_colors_and_no_places() -> None:
    discriminator = PixelDiscriminator(PixelDiscriminatorConfig())
    images = pictures(1, 8)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    shuffled = images.flatten(2)[:, :, order].reshape(images.shape)
    torch.testing.assert_close(
        discriminator(shuffled).flatten(), discriminator(images).flatten()[order], rtol=0, atol=1e-6
    )


def test_the_judges_of_a_multi_scale_one_weigh_alike() -> None:
    discriminator = MultiScaleDiscriminator(MultiScaleDiscriminatorConfig(channels=4, layers=1))
    images = pictures()
    scores = discriminator(images)
    assert scores.shape == (2, 3, 30, 30)
    for place in range(3):
        smaller = images.unflatten(2, (-1, 2**place)).unflatten(4, (-1, 2**place)).mean(dim=(3, 5))
        own = discriminator.discriminators[place](smaller).detach().numpy()
        nearest = np.arange(30) * own.shape[2] // 30  # 30, 14 and 6 scores a side
        np.testing.assert_allclose(
            scores[:, place].detach().numpy(), own[:, 0][:, nearest][:, :, nearest], atol=1e-6, rtol=0
        )


def test_the_judge_of_colors_is_one_of_them_if_asked_for() -> None:
    discriminator = MultiScaleDiscriminator(MultiScaleDiscriminatorConfig(channels=4, layers=1, colors=True))
    scores = discriminator(pictures())
    assert scores.shape == (2, 4, 64, 64)
    assert discriminator.colors is not None
    assert torch.equal(scores[:, :1], discriminator.colors(pictures()))


@pytest.mark.parametrize(("norm", "seen"), [("instance", False), ("none", True), ("spectral", True)])
def test_only_a_judge_without_instance_norm_sees_how_strong_the_stain_is(norm: DiscriminatorNorm, seen: bool) -> None:
    """The same picture with half of the contrast: an instance norm gives the last layer the same numbers."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(PatchDiscriminatorConfig(channels=8, layers=2, norm=norm))
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)  # the edge's zeros do not halve, but they show in no other way
    strong = pictures(1)
    with torch.no_grad():
        first, second = discriminator(strong), discriminator(0.5 * strong)
    difference = float((first - second).abs().mean() / (first - first.mean()).abs().mean())
    assert (difference > 0.2) is seen


def test_spectral_norm_brings_every_singular_value_to_one() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(PatchDiscriminatorConfig(channels=4, layers=2, norm="spectral"))
    for _ in range(50):
        discriminator(pictures(1, 32))  # each forward improves the estimate
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            largest = torch.linalg.svdvals(module.weight.detach().flatten(1))[0]
            assert largest.item() == pytest.approx(1.0, abs=0.02)


def test_judges_without_a_norm_have_none() -> None:
    for norm in ("none", "spectral"):
        discriminator = PatchDiscriminator(PatchDiscriminatorConfig(channels=4, layers=2, norm=norm))
        assert not any(isinstance(module, nn.InstanceNorm2d) for module in discriminator.modules())


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resize_convolution_leaves_no_checkerboard(mode: str) -> None:
    """A flat picture through random weights stays flat but for its edges (Odena et al. 2016)."""

    def ripple(upsampling: str) -> float:
        torch.manual_seed(1)
        config = ResnetGeneratorConfig(channels=4, blocks=1, upsampling=upsampling)  # type: ignore[arg-type]
        generator = ResnetGenerator(config)
        for module in generator.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.forward = lambda x: x  # type: ignore[method-assign]
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.2)
        with torch.no_grad():
            middle = generator(torch.full((1, 3, 96, 96), 0.3))[:, :, 40:56, 40:56]
        return float(middle.std(dim=(2, 3)).max())

    assert ripple(mode) < 1e-5 < 1e-3 < ripple("transposed")


def test_resize_convolutions_double_and_halve_no_size() -> None:
    generator = ResnetGenerator(ResnetGeneratorConfig(channels=2, blocks=1, upsampling="bilinear"))
    assert generator(pictures(1, 32)).shape == (1, 3, 32, 32)
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in generator.modules())
