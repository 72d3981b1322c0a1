"""The generators that a translator may use, by their `kind`."""

from typing import Annotated, TypeAlias

from torch import nn

from hemabridge.networks.kinds import by_kind
from hemabridge.networks.resnet_generator import ResnetGenerator, ResnetGeneratorConfig

GeneratorConfig: TypeAlias = Annotated[ResnetGeneratorConfig, by_kind("resnet", ResnetGeneratorConfig)]
"""The configuration of a generator; `resnet` where a section has no `kind`."""


def new_generator(config: GeneratorConfig) -> nn.Module:
    """Make a generator: float[B, 3, H, W] in [-1, 1] to the same."""
    return ResnetGenerator(config)
