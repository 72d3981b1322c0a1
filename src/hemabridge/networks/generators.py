"""The generators that a translator may use, by their `kind`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeAlias

from torch import nn

from hemabridge.networks.bilateral_grid import BilateralGrid, BilateralGridConfig
from hemabridge.networks.color_lut import ColorTable, ColorTableConfig
from hemabridge.networks.kinds import by_kind
from hemabridge.networks.pixel_network import PixelNetwork, PixelNetworkConfig
from hemabridge.networks.resnet_generator import ResnetGenerator, ResnetGeneratorConfig

GeneratorConfig: TypeAlias = Annotated[
    ResnetGeneratorConfig | PixelNetworkConfig | ColorTableConfig | BilateralGridConfig,
    by_kind("resnet", ResnetGeneratorConfig, PixelNetworkConfig, ColorTableConfig, BilateralGridConfig),
]
"""The configuration of a generator; `resnet` where a section has no `kind`."""

GENERATORS: Final[Mapping[str, Callable[[Any], nn.Module]]] = MappingProxyType(
    {"resnet": ResnetGenerator, "pixel": PixelNetwork, "lut": ColorTable, "bilateral": BilateralGrid}
)
"""Every generator by its `kind`."""


def new_generator(config: GeneratorConfig) -> nn.Module:
    """Make a generator: float[B, 3, H, W] in [-1, 1] to the same."""
    return GENERATORS[config.kind](config)
