"""The catalog of the translators that can be trained, by their `kind`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

from torch import nn

from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.networks.catalog import new_generator
from hemabridge.training.objective import Objective
from hemabridge.translators.colorization import Colorization, GrayThenColor
from hemabridge.translators.colorization_nets import Colorizer, GrayColorizer
from hemabridge.translators.contrastive import Contrastive
from hemabridge.translators.cyclegan import CycleGan
from hemabridge.translators.distillation import Distillation
from hemabridge.translators.objective_config import ModelConfig
from hemabridge.translators.target_only import TargetOnly
from hemabridge.translators.target_only_net import SiteRestainer


class TranslatorObjective(Objective, Protocol):
    """A translator to train. The net that re-stains is called `to_target`, and the other direction `to_source`."""

    @property
    def averaged(self) -> tuple[str, ...]:
        """The nets that re-stain: their moving average is kept, and each is a direction that snapshots offer."""
        ...

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Take from the training cells, uint8[N, H, W, 3], once before training, what goes into buffers."""
        ...


@dataclass(frozen=True)
class Entry:
    """One translator of the catalog.

    Attributes:
        objective: makes, from its settings, the model that is trained.
        restainer: makes, from its settings, the net of one direction alone: float[B, 3, H, W] in [-1, 1] to the same,
            of any size from its own smallest on.
    """

    objective: Callable[[Any], TranslatorObjective]
    restainer: Callable[[Any], nn.Module]


def _generator_of(config: Any) -> nn.Module:
    return new_generator(config.generator)


MODELS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "cyclegan": Entry(CycleGan, _generator_of),
        "colorization": Entry(Colorization, Colorizer),
        "gray-then-color": Entry(GrayThenColor, GrayColorizer),
        "contrastive": Entry(Contrastive, _generator_of),
        "target-only": Entry(TargetOnly, SiteRestainer),
        "distillation": Entry(Distillation, _generator_of),
    }
)
"""Every translator by the `kind` of its settings."""


def new_objective(config: ModelConfig) -> TranslatorObjective:
    """Make the model that is trained."""
    return MODELS[config.kind].objective(config)


def new_restainer(config: ModelConfig) -> nn.Module:
    """Make the net of one direction alone, with weights of its own, to be loaded."""
    return MODELS[config.kind].restainer(config)
