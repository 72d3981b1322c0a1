"""Exponential moving averages of weights."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

RAMP = 0.05
"""The half-life never exceeds this fraction of the images seen, so that an average is useful early."""


class WeightAverage:
    """Moving averages of some nets, with the half-life counted in images (Karras et al. 2019, progressive GAN code).

    Buffers, such as batch-norm statistics, are copied, not averaged.
    """

    def __init__(self, nets: Mapping[str, nn.Module], half_life_images: float) -> None:
        self.half_life_images = half_life_images
        self.nets = {name: copy.deepcopy(net).requires_grad_(False).eval() for name, net in nets.items()}

    @torch.no_grad()
    def update(self, nets: Mapping[str, nn.Module], images: int, batch_size: int) -> None:
        """Move the averages towards `nets`, of which a step of `batch_size` images was just made."""
        half_life = min(self.half_life_images, max(images * RAMP, 1e-8))
        keep = 0.5 ** (batch_size / half_life)
        for name, average in self.nets.items():
            for mean, now in zip(average.parameters(), nets[name].parameters(), strict=True):
                mean.lerp_(now, 1.0 - keep)
            for kept, current in zip(average.buffers(), nets[name].buffers(), strict=True):
                kept.copy_(current)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights by a flat name."""
        return {f"{name}/{key}": t for name, net in self.nets.items() for key, t in net.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, net in self.nets.items():
            prefix = f"{name}/"
            net.load_state_dict({k[len(prefix) :]: t for k, t in state.items() if k.startswith(prefix)})
