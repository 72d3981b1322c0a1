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
    """A translator to train. Its network `to_target` re-stains; `to_source` is the other direction, if there is one."""

    @property
    def averaged(self) -> tuple[str, ...]:
        """Names of the networks that re-stain; their weights are averaged, and each is a direction of the snapshots."""
        ...

    def measure_sites(self, source: UInt8Images, target: UInt8Images) -> None:
        """Measure the training cells of both sites, uint8[N, H, W, 3], once before training; results go to buffers."""
        ...


@dataclass(frozen=True)
class Entry:
    """One translator of the catalog.

    Attributes:
        objective: makes the model that is trained from its settings.
        restainer: makes the network of one direction from the same settings: float[B, 3, H, W] in [-1, 1] to the same,
            of any size that is not below the network's minimum.
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
    """Make the network of one direction; its initial weights are to be replaced by those of a snapshot."""
    return MODELS[config.kind].restainer(config)
