"""The catalog of all translators, and when to use which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel
from torch import nn

from hemabridge.networks.generators import GeneratorConfig, new_generator
from hemabridge.networks.kinds import by_kind
from hemabridge.networks.pixel_network import PixelNetworkConfig
from hemabridge.translators.colorization import Colorization, GrayThenColor
from hemabridge.translators.colorization_config import ColorizationConfig, GrayThenColorConfig
from hemabridge.translators.colorization_nets import Colorizer, GrayColorizer
from hemabridge.translators.contrastive import Contrastive, ContrastiveConfig
from hemabridge.translators.cyclegan import CycleGan, CycleGanConfig
from hemabridge.translators.distillation import Distillation, DistillationConfig
from hemabridge.translators.objective import TranslatorObjective
from hemabridge.translators.target_only import TargetOnly
from hemabridge.translators.target_only_config import TargetOnlyConfig
from hemabridge.translators.target_only_net import SiteRestainer


@dataclass(frozen=True)
class Entry:
    """One translator of the catalog.

    Attributes:
        config: its settings.
        objective: makes, from such settings, the model that is trained.
        restainer: makes, from such settings, the net of one direction alone: float[B, 3, H, W] in [-1, 1] to the same,
            of any size from its own smallest on.
        use: one line on when to use it.
    """

    config: type[BaseModel]
    objective: Callable[[Any], TranslatorObjective]
    restainer: Callable[[Any], nn.Module]
    use: str


ModelConfig: TypeAlias = Annotated[
    CycleGanConfig
    | ColorizationConfig
    | GrayThenColorConfig
    | ContrastiveConfig
    | TargetOnlyConfig
    | DistillationConfig,
    by_kind(
        "cyclegan",
        CycleGanConfig,
        ColorizationConfig,
        GrayThenColorConfig,
        ContrastiveConfig,
        TargetOnlyConfig,
        DistillationConfig,
    ),
]
"""The settings of any translator; `cyclegan` where a section has no `kind`."""

MODELS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "cyclegan": Entry(
            CycleGanConfig,
            CycleGan,
            lambda config: new_generator(config.generator),
            "two sites without pairs; its generator decides what may change: colors alone, or anything",
        ),
        "colorization": Entry(
            ColorizationConfig,
            Colorization,
            Colorizer,
            "the paper's ColorizationGAN: learns from the target alone, keeps luminance, guesses color anew",
        ),
        "gray-then-color": Entry(
            GrayThenColorConfig,
            GrayThenColor,
            GrayColorizer,
            "one model for sites never seen: learns from the target alone, by way of a learned gray",
        ),
        "contrastive": Entry(
            ContrastiveConfig,
            Contrastive,
            lambda config: new_generator(config.generator),
            "two sites without pairs, one direction only: quicker than CycleGAN; it too may change anything",
        ),
        "target-only": Entry(
            TargetOnlyConfig,
            TargetOnly,
            SiteRestainer,
            "one model for every hospital, learned from the target alone; says when a site is too far out",
        ),
        "distillation": Entry(
            DistillationConfig,
            Distillation,
            lambda config: new_generator(config.generator),
            "the copy of any other re-stainer as a color model: hundreds of images per second",
        ),
    }
)
"""Every translator by its `kind`."""


def method_name(config: ModelConfig) -> str:
    """Return what results and reports call a translator: its objective, or its color model where it has one.

    A CycleGAN that may only change colors is another method than one that may redraw the cell, so it is called by its
    generator, as its preset is: `pixel`, `film`, `lut`, `bilateral`. Other objectives with another generator than
    their usual one name both, as in `distillation bilateral`.
    """
    generator: GeneratorConfig | None = getattr(config, "generator", None)
    usual: GeneratorConfig | None = getattr(type(config)(), "generator", None)
    if generator is None or usual is None or _generator_name(generator) == _generator_name(usual):
        return config.kind
    name = _generator_name(generator)
    return name if isinstance(config, CycleGanConfig) else f"{config.kind} {name}"


def _generator_name(config: GeneratorConfig) -> str:
    return "film" if isinstance(config, PixelNetworkConfig) and config.conditioned else config.kind


def new_objective(config: ModelConfig) -> TranslatorObjective:
    """Make the model that is trained."""
    return MODELS[config.kind].objective(config)


def new_restainer(config: ModelConfig) -> nn.Module:
    """Make the net of one direction alone, with weights of its own, to be loaded."""
    return MODELS[config.kind].restainer(config)
