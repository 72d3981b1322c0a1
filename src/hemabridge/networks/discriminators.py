"""The discriminators that a translator may use, by their `kind`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from hemabridge.networks.kinds import by_kind
from hemabridge.networks.patch_discriminator import (
    NORM_USE,
    NormName,
    PatchDiscriminator,
    PatchDiscriminatorConfig,
    bound_steepness,
)


class PixelDiscriminatorConfig(BaseModel):
    """Size of the discriminator of colors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pixel"] = "pixel"
    channels: int = Field(32, ge=1, description="units of each hidden layer")
    layers: int = Field(2, ge=1, le=8, description="hidden layers")
    norm: Literal["spectral", "none"] = Field("none", description="whether the discriminator's steepness is bounded")


class PixelDiscriminator(nn.Module):
    """Discriminator each pixel by its color alone: float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, 1, H, W].

    It sees the distribution of colors and nothing else (the PixelGAN of Isola et al. 2017, section 4.4): it cannot ask
    a generator to draw or to move anything, nor see that a nucleus took the color of a red cell.
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


class MultiScaleDiscriminatorConfig(BaseModel):
    """One patch discriminator for each size of the image, and a discriminator of its colors if wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["multi-scale"] = "multi-scale"
    channels: int = Field(16, ge=1, description="filters of the first layer of each patch discriminator")
    layers: int = Field(2, ge=1, le=5, description="layers of each that halve the picture")
    scales: int = Field(3, ge=1, le=5, description="sizes: the image itself, its half, its quarter, ...")
    colors: bool = Field(False, description="whether a discriminator of single pixels joins them")
    norm: NormName = Field("none", description=NORM_USE)


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators of the image, its half, its quarter, ... (Wang et al. 2018, doi:10.1109/CVPR.2018.00917).

    float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, discriminators, H', W']: the map of each is spread to
    the largest map's size, so that all weigh alike.
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


DiscriminatorConfig: TypeAlias = Annotated[
    PatchDiscriminatorConfig | PixelDiscriminatorConfig | MultiScaleDiscriminatorConfig,
    by_kind("patch", PatchDiscriminatorConfig, PixelDiscriminatorConfig, MultiScaleDiscriminatorConfig),
]
"""The configuration of a discriminator; `patch` where a section has no `kind`."""

DISCRIMINATORS: Final[Mapping[str, Callable[[Any], nn.Module]]] = MappingProxyType(
    {"patch": PatchDiscriminator, "pixel": PixelDiscriminator, "multi-scale": MultiScaleDiscriminator}
)
"""Every discriminator by its `kind`."""


def new_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """Make a discriminator: float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, C, H', W']."""
    return DISCRIMINATORS[config.kind](config)
