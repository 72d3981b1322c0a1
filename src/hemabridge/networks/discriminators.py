"""Discriminators: of patches (Isola et al. 2017, doi:10.1109/CVPR.2017.632), of single pixels, of several scales."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.utils.parametrizations import spectral_norm

from hemabridge.networks.config import MultiScaleDiscriminatorConfig, PatchDiscriminatorConfig, PixelDiscriminatorConfig
from hemabridge.networks.layers import BlurredHalf, initialize_normal


class PatchDiscriminator(nn.Module):
    """Score each patch of float[B, 3, H, W] in [-1, 1]: unbounded scores float[B, 1, H', W'] (256 px gives 30x30)."""

    def __init__(self, config: PatchDiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.channels * min(2**i, 8) for i in range(config.layers + 1)]
        blurs = config.downsampling == "blurred"
        stride = 1 if blurs else 2
        layers: list[nn.Module] = []
        for i, (before, width) in enumerate(zip([3, *widths], widths, strict=False)):
            halves = i < config.layers
            layers += [nn.Conv2d(before, width, 4, stride=stride if halves else 1, padding=1)]
            layers += [nn.InstanceNorm2d(width)] if i > 0 and config.norm == "instance" else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            layers += [BlurredHalf()] if halves and blurs else []
        layers += [nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1)]
        self.layers = nn.Sequential(*layers)
        initialize_normal(self)
        if config.norm == "spectral":
            bound_steepness(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score the patches of float[B, 3, H, W]."""
        out: Tensor = self.layers(x)
        return out


class PixelDiscriminator(nn.Module):
    """Score each pixel by its color alone: float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, 1, H, W].

    Its scores depend on the distribution of colors alone (the PixelGAN of Isola et al. 2017, section 4.4). It therefore
    gives a generator no reason to draw or to move anything, and cannot detect a nucleus in the color of a red cell.
    """

    def __init__(self, config: PixelDiscriminatorConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, config.channels, 1), nn.LeakyReLU(0.2)]
        for _ in range(config.layers - 1):
            layers += [nn.Conv2d(config.channels, config.channels, 1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(config.channels, 1, 1))
        if config.norm == "spectral":
            bound_steepness(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score the pixels of float[B, 3, H, W]."""
        out: Tensor = self.layers(x)
        return out


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators of the image, its half, its quarter, ... (Wang et al. 2018, doi:10.1109/CVPR.2018.00917).

    float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, discriminators, H', W']. Each map is enlarged to the size
    of the largest one, so that all discriminators have equal weight.
    """

    def __init__(self, config: MultiScaleDiscriminatorConfig) -> None:
        super().__init__()
        own = PatchDiscriminatorConfig(channels=config.channels, layers=config.layers, norm=config.norm)
        self.discriminators = nn.ModuleList(PatchDiscriminator(own) for _ in range(config.scales))
        pixels = PixelDiscriminatorConfig(norm="spectral" if config.norm == "spectral" else "none")
        self.colors = PixelDiscriminator(pixels) if config.colors else None

    def forward(self, x: Tensor) -> Tensor:
        """Score float[B, 3, H, W]; the smallest size must still be large enough for a patch discriminator."""
        maps = [] if self.colors is None else [self.colors(x)]
        for place, discriminator in enumerate(self.discriminators):
            maps.append(discriminator(avg_pool2d(x, 2**place)))
        size = maps[0].shape[2:]
        return torch.cat([interpolate(scores, size, mode="nearest") for scores in maps], dim=1)


def bound_steepness(network: nn.Module) -> None:
    """Apply spectral norm: weights divided by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
