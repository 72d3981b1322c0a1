"""One training step, and the moving average of the weights after it."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from hemabridge.errors import NonFiniteLossError
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.objective import Batch, Objective, Phase, Terms
from hemabridge.training.schedules import Schedule


class Engine:
    """The networks, one optimizer per phase, and the training step.

    `schedules` holds one schedule per network. Gradients are averaged over processes without DistributedDataParallel,
    so that an objective may call a network several times within one step.
    """

    def __init__(
        self, fabric: Fabric, objective: Objective, optimizer: OptimizerConfig, schedules: Mapping[str, Schedule]
    ) -> None:
        self.fabric = fabric
        self.objective = objective
        self.schedules = schedules
        for net in objective.nets.values():
            net.to(fabric.device).train()
        self.optimizers = {phase.name: self._optimizer(phase, optimizer) for phase in objective.phases}

    def _optimizer(self, phase: Phase, config: OptimizerConfig) -> torch.optim.Optimizer:
        groups = [{"params": list(self.objective.nets[name].parameters()), "net": name} for name in phase.trains]
        return torch.optim.AdamW(
            groups, lr=0.0, betas=(config.beta1, config.beta2), weight_decay=config.weight_decay, foreach=True
        )

    def set_to(self, images: int) -> dict[str, float]:
        """Set learning rate and momentum of each optimizer by its schedule; return the rate of each network."""
        rates = {}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                schedule = self.schedules[group["net"]]
                group["lr"] = rates[group["net"]] = schedule.learning_rate(images)
                momentum = schedule.momentum(images)
                if momentum is not None:
                    group["betas"] = (momentum, group["betas"][1])
        return rates

    def step(self, batch: Batch, images: int) -> dict[str, float]:
        """Run one step of all phases; return each loss term by name.

        Raises:
            NonFiniteLossError: a term or a gradient is NaN or infinite; the networks of its phase were not updated.
        """
        rates = self.set_to(images)
        awake = {name for name, rate in rates.items() if rate > 0.0}
        numbers: dict[str, float] = {}
        with only(self.objective.nets, awake), self.fabric.autocast():
            shared = self.objective.forward({name: tensor.to(self.fabric.device) for name, tensor in batch.items()})
        for phase in self.objective.phases:
            trains = awake.intersection(phase.trains)
            with only(self.objective.nets, trains):
                with self.fabric.autocast():
                    terms = phase.losses(shared)
                found = {name: float(term.detach()) for name, term in terms.items()}
                _check_finite(found, images, phase.name)
                numbers |= found
                if trains:
                    self._update(phase, terms, images)
        return numbers

    def _update(self, phase: Phase, terms: Terms, images: int) -> None:
        optimizer = self.optimizers[phase.name]
        optimizer.zero_grad(set_to_none=True)
        total: Tensor = torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.fabric.world_size > 1:
            self._average(gradients)
        _check_finite({"norm of the gradients": float(get_total_norm(gradients))}, images, phase.name)
        optimizer.step()

    def _average(self, gradients: list[Tensor]) -> None:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        means = cast(Tensor, self.fabric.all_reduce(flat, reduce_op="mean"))
        for gradient, mean in zip(gradients, torch.split(means, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def state_dict(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on: networks and optimizers, by a flat name."""
        state = {
            f"nets/{name}/{key}": tensor
            for name, net in self.objective.nets.items()
            for key, tensor in net.state_dict().items()
        }
        for phase, optimizer in self.optimizers.items():
            for index, moments in optimizer.state_dict()["state"].items():
                state |= {f"optimizers/{phase}/{index}/{key}": tensor for key, tensor in moments.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, net in self.objective.nets.items():
            net.load_state_dict(under(state, f"nets/{name}/"))
        for phase, optimizer in self.optimizers.items():
            moments: dict[int, dict[str, Any]] = {}
            for key, tensor in under(state, f"optimizers/{phase}/").items():
                index, name = key.split("/")
                moments.setdefault(int(index), {})[name] = tensor
            optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


@contextmanager
def only(nets: Mapping[str, nn.Module], trained: set[str]) -> Iterator[None]:
    """Within the context, freeze all networks but those in `trained`; afterwards none is frozen."""
    for name, net in nets.items():
        net.requires_grad_(name in trained)
    try:
        yield
    finally:
        for net in nets.values():
            net.requires_grad_(True)


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries whose name starts with `prefix`, without it."""
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


def _check_finite(numbers: Mapping[str, float], images: int, phase: str) -> None:
    bad = {name: number for name, number in numbers.items() if not abs(number) < float("inf")}
    if bad:
        raise NonFiniteLossError(
            f"expected finite losses and gradients, got {bad} in phase '{phase}' after {images} images; nothing of "
            "this phase was updated. Lower the learning rate, or check the images for blank or corrupt ones "
            "(`hemabridge audit MANIFEST`)"
        )


RAMP = 0.05
"""The half-life is at most this share of the images seen, so that the average is useful early in training."""


class WeightAverage:
    """Moving averages of networks' weights, with a half-life in images (Karras et al. 2018, progressive GAN code).

    Buffers, such as batch-norm statistics, are copied, not averaged.
    """

    def __init__(self, nets: Mapping[str, nn.Module], half_life_images: float) -> None:
        self.half_life_images = half_life_images
        self.nets = {name: copy.deepcopy(net).requires_grad_(False).eval() for name, net in nets.items()}

    @torch.no_grad()
    def update(self, nets: Mapping[str, nn.Module], images: int, batch_size: int) -> None:
        """Update the averages after a step of `batch_size` images; `images` were seen so far."""
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
