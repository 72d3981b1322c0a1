"""What the training loop knows of a model: its nets, its phases, and nothing else."""

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

    `trains` names the nets that this phase updates; the loop freezes all others while `losses` runs.
    `losses` takes what the objective's `forward` returned.
    """

    name: str
    trains: tuple[str, ...]
    losses: Callable[[Any], Terms]


class Objective(Protocol):
    """A model to train, as the loop sees it.

    `phases` are run in their order: CycleGAN is generators then discriminators, colorization discriminators then
    generator, a classifier has one phase.
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
        """Compute, once per step, what the losses of all phases share."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return all state that is neither a net's nor an optimizer's (a replay pool, say); empty if there is none."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        ...
