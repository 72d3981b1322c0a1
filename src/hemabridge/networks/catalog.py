"""The catalog of generators and discriminators that a recipe may choose, by their `kind`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from hemabridge.networks.color_generators import BilateralGrid, ColorLut, PixelNetwork
from hemabridge.networks.config import DiscriminatorConfig, GeneratorConfig
from hemabridge.networks.discriminators import MultiScaleDiscriminator, PatchDiscriminator, PixelDiscriminator
from hemabridge.networks.resnet_generator import ResnetGenerator

GENERATORS: Final[Mapping[str, Callable[[Any], nn.Module]]] = MappingProxyType(
    {"resnet": ResnetGenerator, "pixel": PixelNetwork, "lut": ColorLut, "bilateral": BilateralGrid}
)
"""Every generator by its `kind`."""

DISCRIMINATORS: Final[Mapping[str, Callable[[Any], nn.Module]]] = MappingProxyType(
    {"patch": PatchDiscriminator, "pixel": PixelDiscriminator, "multi-scale": MultiScaleDiscriminator}
)
"""Every discriminator by its `kind`."""


def new_generator(config: GeneratorConfig) -> nn.Module:
    """Make a generator: float[B, 3, H, W] in [-1, 1] to the same."""
    return GENERATORS[config.kind](config)


def new_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """Make a discriminator: float[B, 3, H, W] in [-1, 1] to unbounded scores, float[B, C, H', W']."""
    return DISCRIMINATORS[config.kind](config)
