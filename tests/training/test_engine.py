import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from toy import cpu

from hemabridge.errors import NonFiniteLossError
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine, only, under
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.training.schedules import Constant, OneCycle, Schedule


class Pair:
    """Two nets: `first` is pulled towards 1 by two terms, then `second` towards what `first` made."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.nets = {"first": nn.Linear(2, 1), "second": nn.Linear(1, 1)}
        self.phases = (
            Phase("pull", ("first",), self.pull),
            Phase("follow", ("second",), self.follow),
        )
        self.calls: list[str] = []

    def forward(self, batch: Batch) -> Tensor:
        self.calls.append("forward")
        made: Tensor = self.nets["first"](batch["x"])
        return made

    def pull(self, made: Tensor) -> Terms:
        self.calls.append("pull")
        return {"near": ((made - 1) ** 2).mean(), "scored": 0.5 * (self.nets["second"](made) ** 2).mean()}

    def follow(self, made: Tensor) -> Terms:
        self.calls.append("follow")
        return {"follow": ((self.nets["second"](made.detach()) - 3) ** 2).mean()}

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        assert not state


def engine_of(
    objective: Pair | None = None, optimizer: OptimizerConfig | None = None, **schedules: Schedule
) -> tuple[Pair, Engine]:
    objective = objective or Pair()
    rates: dict[str, Schedule] = {"first": Constant(0.01), "second": Constant(0.1)}
    return objective, Engine(cpu(), objective, optimizer or OptimizerConfig(), rates | schedules)


def batch_of(step: int) -> Batch:
    return {"x": torch.rand(4, 2, generator=torch.Generator().manual_seed(step))}


def weights(objective: Pair, net: str) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in objective.nets[net].parameters()])


def test_a_step_is_what_plain_pytorch_does_by_hand() -> None:
    objective, engine = engine_of(optimizer=OptimizerConfig(beta1=0.5, beta2=0.9, weight_decay=0.2))
    by_hand = copy.deepcopy(objective.nets)
    options = {"betas": (0.5, 0.9), "weight_decay": 0.2}
    first = torch.optim.AdamW(by_hand["first"].parameters(), lr=0.01, **options)  # type: ignore[arg-type]
    second = torch.optim.AdamW(by_hand["second"].parameters(), lr=0.1, **options)  # type: ignore[arg-type]
    for step in range(5):
        numbers = engine.step(batch_of(step), step)

        made = by_hand["first"](batch_of(step)["x"])
        near, scored = ((made - 1) ** 2).mean(), 0.5 * (by_hand["second"](made) ** 2).mean()
        first.zero_grad()
        (near + scored).backward()
        first.step()
        follow = ((by_hand["second"](made.detach()) - 3) ** 2).mean()
        second.zero_grad()
        follow.backward()
        second.step()
        assert numbers == pytest.approx({"near": near.item(), "scored": scored.item(), "follow": follow.item()})
    for name, net in by_hand.items():
        expected = torch.cat([p.detach().flatten() for p in net.parameters()])
        torch.testing.assert_close(weights(objective, name), expected)


def test_forward_is_done_once_and_the_phases_in_their_order() -> None:
    objective, engine = engine_of()
    engine.step(batch_of(0), 0)
    assert objective.calls == ["forward", "pull", "follow"]


def test_nets_are_put_to_training_and_are_all_free_after_a_step() -> None:
    objective = Pair()
    for net in objective.nets.values():
        net.eval().requires_grad_(False)
    _, engine = engine_of(objective)
    engine.step(batch_of(0), 0)
    assert all(net.training for net in objective.nets.values())
    assert all(p.requires_grad for net in objective.nets.values() for p in net.parameters())


def test_a_rate_of_zero_freezes_a_net_and_no_other() -> None:
    objective, engine = engine_of(first=Constant(0.0))
    before = {name: weights(objective, name) for name in objective.nets}
    numbers = engine.step(batch_of(0), 0)
    assert torch.equal(weights(objective, "first"), before["first"])
    assert not torch.equal(weights(objective, "second"), before["second"])
    assert all(p.grad is None for p in objective.nets["first"].parameters())
    assert set(numbers) == {"near", "scored", "follow"}


def test_weight_decay_does_not_touch_a_frozen_net() -> None:
    objective, engine = engine_of(optimizer=OptimizerConfig(weight_decay=0.5), first=Constant(0.0))
    before = weights(objective, "first")
    for step in range(3):
        engine.step(batch_of(step), step)
    assert torch.equal(weights(objective, "first"), before)


def test_rates_and_momentum_follow_the_schedules() -> None:
    cycle = OneCycle(0.1, 100)
    _, engine = engine_of(second=cycle)
    for images in (0, 25, 60, 100):
        assert engine.set_to(images) == {"first": 0.01, "second": cycle.learning_rate(images)}
        (group,) = engine.optimizers["follow"].param_groups
        assert (group["lr"], group["betas"]) == (cycle.learning_rate(images), (cycle.momentum(images), 0.999))
    (group,) = engine.optimizers["pull"].param_groups
    assert group["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_its_phase_before_the_update(number: float) -> None:
    objective, engine = engine_of()
    sound = objective.phases

    def broken(made: Tensor) -> Terms:
        return {"follow": objective.follow(made)["follow"] * number}

    engine.step(batch_of(0), 0)
    before = {name: weights(objective, name) for name in objective.nets}
    moments = {
        key: tensor.clone() for key, tensor in engine.state_dict().items() if key.startswith("optimizers/follow")
    }
    objective.phases = (sound[0], Phase("follow", ("second",), broken))
    with pytest.raises(NonFiniteLossError, match=r"got \{'follow': .*\} in phase 'follow' after 7 images"):
        engine.step(batch_of(1), 7)
    assert torch.equal(weights(objective, "second"), before["second"])
    assert not torch.equal(weights(objective, "first"), before["first"])  # its phase came before
    after = engine.state_dict()
    assert [key for key, tensor in moments.items() if not torch.equal(after[key], tensor)] == []
    assert all(p.requires_grad for net in objective.nets.values() for p in net.parameters())


def test_state_restored_in_another_engine_goes_on_to_the_same_bits() -> None:
    whole, engine = engine_of()
    for step in range(6):
        engine.step(batch_of(step), step)

    half, first_engine = engine_of()
    for step in range(3):
        first_engine.step(batch_of(step), step)
    state = {key: tensor.clone() for key, tensor in first_engine.state_dict().items()}
    resumed, second_engine = engine_of()
    second_engine.load_state_dict(state)
    for step in range(3, 6):
        second_engine.step(batch_of(step), step)
    for name in whole.nets:
        assert torch.equal(weights(resumed, name), weights(whole, name))
        assert not torch.equal(weights(half, name), weights(whole, name))


def test_the_state_is_flat_and_holds_nets_and_moments() -> None:
    _, engine = engine_of()
    engine.step(batch_of(0), 0)
    names = set(engine.state_dict())
    nets = {f"nets/{net}/{key}" for net in ("first", "second") for key in ("weight", "bias")}
    moments = {
        f"optimizers/{phase}/{index}/{key}"
        for phase in ("pull", "follow")
        for index in (0, 1)
        for key in ("exp_avg", "exp_avg_sq", "step")
    }
    assert names == nets | moments


@pytest.mark.parametrize("trained", [set(), {"first"}, {"first", "second"}])
def test_only_lets_gradients_reach_the_named_nets(trained: set[str]) -> None:
    nets = Pair().nets

    def free(net: nn.Module) -> bool:
        return all(p.requires_grad for p in net.parameters())

    with only(nets, trained):
        assert {name for name, net in nets.items() if free(net)} == trained
    assert all(free(net) for net in nets.values())


def test_only_frees_all_nets_after_a_failure_too() -> None:
    nets = Pair().nets

    def fail() -> None:
        with only(nets, {"first"}):
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert all(p.requires_grad for net in nets.values() for p in net.parameters())


def test_under_strips_the_beginning_of_names() -> None:
    tensor = torch.zeros(1)
    assert under({"a/b/c": tensor, "a/d": tensor, "b/a": tensor}, "a/") == {"b/c": tensor, "d": tensor}


@pytest.mark.parametrize(
    "wrong", [{"beta1": 1.0}, {"beta1": -0.1}, {"beta2": 1.0}, {"weight_decay": -1}, {"beta_1": 0.5}], ids=str
)
def test_optimizers_are_configured_within_their_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        OptimizerConfig(**wrong)


def test_a_phase_may_train_several_nets_with_a_rate_each() -> None:
    objective = Pair()

    def both(made: Tensor) -> Terms:
        return {"sum": ((objective.nets["second"](made) - 2) ** 2).mean()}

    losses: Callable[[Tensor], Terms] = both
    objective.phases = (Phase("both", ("first", "second"), losses),)
    _, engine = engine_of(objective)
    before = {name: weights(objective, name) for name in objective.nets}
    engine.step(batch_of(0), 0)
    # The first step of Adam moves every weight by its rate, whatever the gradient.
    for name, rate in (("first", 0.01), ("second", 0.1)):
        torch.testing.assert_close((weights(objective, name) - before[name]).abs(), torch.full_like(before[name], rate))
