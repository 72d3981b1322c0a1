"""The protocol between the training loop and a model: networks, phases and losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

Batch: TypeAlias = Mapping[str, Tensor]
"""Named tensors that share their first dimension."""

Terms: TypeAlias = dict[str, Tensor]
"""Named, already weighted loss terms (scalars). The loop sums them."""


@dataclass(frozen=True)
class Phase:
    """One optimizer step of a training step.

    Attributes:
        name: of the phase.
        trains: names of the networks that this phase updates; all others are frozen while `losses` runs.
        losses: takes what the objective's `forward` returned.
    """

    name: str
    trains: tuple[str, ...]
    losses: Callable[[Any], Terms]


class Objective(Protocol):
    """A model to train.

    `phases` are run in their order. CycleGAN trains generators, then discriminators; colorization trains the
    discriminator, then the generator; a classifier has one phase.
    """

    @property
    def nets(self) -> Mapping[str, nn.Module]:
        """All networks by name."""
        ...

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of a step, in their order."""
        ...

    def forward(self, batch: Batch) -> Any:
        """Compute what the losses of all phases need; called once per step."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that belongs to no network and no optimizer, such as a replay pool; it may be empty."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        ...
