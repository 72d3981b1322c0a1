import pytest
import torch
from torch import nn

from hemabridge.networks.config import ResnetUnetConfig, UnetConfig
from hemabridge.networks.unet import BatchNorm, Unet, padded
from hemabridge.networks.unet_resnet import ResnetUnet


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_unet_256_has_the_weights_of_its_layers_by_hand() -> None:
    """Kernels of 4x4; batch norm has two weights per channel and takes the bias's place; the last layer has a bias."""
    downs = 1 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 4 * 512 * 512
    ups = 512 * 512 + 3 * 1024 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128 * 2
    norms = 2 * (128 + 256 + 4 * 512) + 2 * (4 * 512 + 256 + 128 + 64)
    with torch.device("meta"):
        assert count(Unet(UnetConfig(), 1, 2)) == 16 * (downs + ups) + norms + 2 == 54_409_858
        assert count(Unet(UnetConfig(), 3, 3)) == 54_413_955  # the 54.414 M that pix2pix prints for it


def test_encoder_is_resnet_34_but_for_its_head() -> None:
    """ResNet-34 has 21,797,672 weights: 513,000 in its head, and 2 x 64 x 49 in the two colors left out here."""
    with torch.device("meta"):
        net = ResnetUnet(ResnetUnetConfig(), 1, 2)
    assert count(net.stem) + count(net.stages) == 21_797_672 - 513_000 - 2 * 64 * 49


def test_unet_256_drops_out_in_the_three_inner_levels_that_have_a_skip() -> None:
    with torch.device("meta"):
        net = Unet(UnetConfig(), 1, 2)
    assert [any(isinstance(m, nn.Dropout) for m in up) for up in net.ups] == [False] * 4 + [True] * 3 + [False]


CONFIGS = {
    "unet-batch": UnetConfig(channels=2, levels=3),
    "unet-instance-resize": UnetConfig(channels=2, levels=3, norm="instance", upsampling="resize"),
    "resnet-batch": ResnetUnetConfig(channels=2, blocks=(1, 1)),
    "resnet-instance": ResnetUnetConfig(channels=2, blocks=(1, 2), norm="instance"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_output_has_the_input_s_size_and_its_range_at_the_smallest_size_too(name: str) -> None:
    config = CONFIGS[name]
    net = Unet(config, 1, 2) if isinstance(config, UnetConfig) else ResnetUnet(config, 1, 2)
    for side in (config.least_px, config.least_px + config.stride):
        out = net(torch.rand(2, 1, side, 2 * side))
        assert out.shape == (2, 2, side, 2 * side)
        assert out.abs().max().item() <= 1.0


def test_batch_norm_is_that_of_torch() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    theirs.load_state_dict(dict(ours.state_dict()), strict=False)
    x = torch.randn(4, 3, 5, 5) * 2 + 1
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(
    ("height", "width", "least", "wanted"), [(8, 8, 8, (8, 8)), (9, 3, 4, (12, 4)), (3, 5, 16, (16, 16))]
)
def test_padding_repeats_the_edge_to_the_next_multiple(
    height: int, width: int, least: int, wanted: tuple[int, int]
) -> None:
    images = torch.rand(1, 2, height, width)
    out = padded(images, 4, least)
    assert tuple(out.shape[2:]) == wanted
    assert torch.equal(out[:, :, :height, :width], images)
    assert torch.equal(out[:, :, -1, -1], images[:, :, -1, -1])
