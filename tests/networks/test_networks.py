import numpy as np
import pytest
import torch
from scipy import ndimage

from hemabridge.networks.config import PatchDiscriminatorConfig, ResnetGeneratorConfig
from hemabridge.networks.discriminators import PatchDiscriminator
from hemabridge.networks.layers import BlurredHalf
from hemabridge.networks.patch_projection import feature_layers
from hemabridge.networks.resnet_generator import ResnetGenerator, pad_to_stride


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_reference_sizes_have_the_published_parameter_counts() -> None:
    assert count(ResnetGenerator(ResnetGeneratorConfig())) == 11_378_179
    assert count(PatchDiscriminator(PatchDiscriminatorConfig())) == 2_764_737


def test_judge_of_256_px_gives_a_map_of_30_by_30_whose_pixels_see_70_px() -> None:
    discriminator = PatchDiscriminator(PatchDiscriminatorConfig(channels=2))
    for module in (
        discriminator.modules()
    ):  # the norm looks at the whole picture: without it the field of view is what layers see
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda x: x  # type: ignore[method-assign]
    picture = torch.rand(1, 3, 256, 256, requires_grad=True)
    scores = discriminator(picture)
    assert scores.shape == (1, 1, 30, 30)
    scores[0, 0, 15, 15].backward()
    assert picture.grad is not None
    rows = picture.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_generator_keeps_the_size_and_stays_within_its_range() -> None:
    generator = ResnetGenerator(ResnetGeneratorConfig(channels=4, blocks=2))
    out = generator(torch.rand(2, 3, 32, 48) * 2 - 1)
    assert out.shape == (2, 3, 32, 48)
    assert out.abs().max().item() <= 1.0


@pytest.mark.parametrize("size", [(32, 48), (33, 41), (6, 5)])
def test_sizes_between_strides_are_padded_and_cut_again(size: tuple[int, int]) -> None:
    generator = ResnetGenerator(ResnetGeneratorConfig(channels=2, blocks=1)).eval()
    images = torch.rand(1, 3, *size) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(generator(images), generator.layers(pad_to_stride(images))[:, :, : size[0], : size[1]])


def test_the_edge_is_repeated_at_the_right_and_at_the_bottom() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3).expand(1, 3, 2, 3)
    padded = pad_to_stride(image)
    expected = torch.tensor([[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]])
    assert torch.equal(padded[0, 2], expected.float())
    assert pad_to_stride(padded).shape == padded.shape


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (2, 3)])
def test_the_blur_is_a_binomial_filter_at_every_other_pixel(size: tuple[int, int]) -> None:
    """Against SciPy, whose edge mode `mirror` is what PyTorch calls reflect."""
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    kernel = np.outer([1, 2, 1], [1, 2, 1])[None, None] / 16
    expected = ndimage.convolve(x.numpy(), kernel, mode="mirror")[:, :, ::2, ::2]
    np.testing.assert_allclose(BlurredHalf()(x).numpy(), expected, atol=1e-6)


def test_blurred_nets_have_the_weights_of_the_others_and_the_layers_of_cut() -> None:
    with torch.device("meta"):
        generator = ResnetGenerator(ResnetGeneratorConfig(downsampling="blurred"))
        discriminator = PatchDiscriminator(PatchDiscriminatorConfig(downsampling="blurred"))
        assert discriminator(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
        assert generator(torch.empty(1, 3, 256, 256)).shape == (1, 3, 256, 256)
    assert (count(generator), count(discriminator)) == (11_378_179, 2_764_737)
    assert {layer.stride for layer in discriminator.layers if isinstance(layer, torch.nn.Conv2d)} == {(1, 1)}
    names = ("pixels", "down-1", "down-2", "block-1", "block-5")
    assert [layer.place for layer in feature_layers(generator, names)] == [0, 4, 8, 12, 16]


def test_convolutions_start_from_a_normal_with_std_0_02_and_zero_bias() -> None:
    generator = ResnetGenerator(ResnetGeneratorConfig(channels=32, blocks=2))
    weights = torch.cat([m.weight.flatten() for m in generator.modules() if isinstance(m, torch.nn.Conv2d)])
    assert abs(weights.std().item() - 0.02) < 1e-4
    assert all(m.bias.abs().max().item() == 0 for m in generator.modules() if isinstance(m, torch.nn.Conv2d))
