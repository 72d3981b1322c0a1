import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import cpu

from hemabridge.errors import TrainingError
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine
from hemabridge.training.lr_range_test import BLOWN_UP, RangeTest, lr_range_test, suggest
from hemabridge.training.objective import Batch, Phase, Terms
from hemabridge.training.schedules import Constant


class Regression:
    """y = 3 x by a linear net with batch norm before it, so that there are buffers too."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1), nn.Dropout(0.2))
        self.nets = {"net": self.net}
        self.phases = (Phase("fit", ("net",), self.losses),)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.net(batch["x"]), batch["y"]

    def losses(self, shared: tuple[Tensor, Tensor]) -> Terms:
        return {"error": ((shared[0] - shared[1]) ** 2).mean()}

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        assert not state


class Given(Regression):
    """Its losses are a given list, whatever the rate."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.given = iter(losses)

    def losses(self, shared: tuple[Tensor, Tensor]) -> Terms:
        return {"given": next(self.given) + 0.0 * shared[0].mean()}


def batches(limit: int = 10**9) -> Iterator[Batch]:
    for step in range(limit):
        x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))
        yield {"x": x, "y": 3 * x}


def ran(objective: Regression, limit: int = 10**9, **options: float) -> RangeTest:
    return lr_range_test(objective, batches(limit), cpu(), OptimizerConfig(), seed=5, **options)  # type: ignore[arg-type]


def test_rates_rise_by_equal_factors_from_the_lowest_to_the_highest() -> None:
    found = ran(Given([1.0] * 30), lowest=1e-5, highest=1e-1, steps=30)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-1, 30))


def test_losses_are_averaged_without_a_bias_to_the_first() -> None:
    values = [4.0, 2.0, 1.0, 1.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.5, 1.0, 1.0]
    found = ran(Given(values), steps=12)
    expected, average = [], 0.0
    for step, value in enumerate(values, start=1):  # Kingma & Ba 2015, section 3: bias-corrected moving average
        average = 0.9 * average + 0.1 * value
        expected.append(average / (1 - 0.9**step))
    assert found.losses == pytest.approx(expected)
    assert ran(Given([7.0] * 12), steps=12).losses == pytest.approx([7.0] * 12)


def test_the_test_ends_when_the_loss_blows_up() -> None:
    found = ran(Given([1.0] * 15 + [1e6] * 45))
    assert len(found.losses) == 16
    assert found.losses[-1] > BLOWN_UP * min(found.losses)
    assert found.suggestion in found.rates


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_the_end_of_the_test_not_of_the_run(number: float) -> None:
    found = ran(Given([2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1.0, number, 1.0]))
    assert len(found.rates) == 11


@pytest.mark.parametrize(("losses", "told"), [([1.0] * 9 + [math.nan], 9), ([math.nan], 0), ([1.0, 1e9], 2)])
def test_too_few_steps_are_told_with_what_to_do(losses: list[float], told: int) -> None:
    with pytest.raises(
        TrainingError, match=rf"at least 10 steps .*, got {told}; .*give the learning rate in the recipe"
    ):
        ran(Given(losses))


@pytest.mark.parametrize("limit", [0, 9])
def test_too_few_batches_are_told(limit: int) -> None:
    with pytest.raises(TrainingError, match=f"got {limit}"):
        ran(Regression(), limit)


@pytest.mark.parametrize("fails", [False, True])
def test_all_training_is_undone(fails: bool) -> None:
    objective = Regression() if not fails else Given([1.0] * 5 + [math.nan])
    before = {key: tensor.clone() for key, tensor in objective.net.state_dict().items()}
    if fails:
        with pytest.raises(TrainingError):
            ran(objective)
    else:
        assert ran(objective).rates
    after = objective.net.state_dict()
    assert [key for key, tensor in before.items() if not torch.equal(after[key], tensor)] == []


def test_the_same_seed_gives_the_same_answer() -> None:
    torch.manual_seed(1)
    first = ran(Regression())
    torch.manual_seed(2)
    assert ran(Regression()) == first


def test_progress_is_told() -> None:
    calls: list[tuple[str, int, int]] = []
    lr_range_test(
        Given([1.0] * 12),
        batches(),
        cpu(),
        OptimizerConfig(),
        seed=0,
        steps=12,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("looking for a learning rate", step, 12) for step in range(1, 13)]


def test_the_suggestion_is_where_the_loss_falls_fastest_per_decade() -> None:
    rates = np.geomspace(1e-6, 1.0, 60)
    place = np.log10(rates)
    losses = 1 / (1 + np.exp(4 * (place + 2.5)))  # falls fastest at 10^-2.5
    assert suggest(list(rates), list(losses)) == pytest.approx(10**-2.5, rel=0.2)


def test_the_suggestion_comes_before_the_minimum_even_if_the_loss_falls_faster_later() -> None:
    rates = list(np.geomspace(1e-6, 1.0, 40))
    losses = [2.0 - 0.02 * step for step in range(20)] + [9.0 - 0.3 * step for step in range(20)]
    assert suggest(rates, losses) <= rates[19]


def test_the_beginning_where_the_average_is_not_settled_is_left_out() -> None:
    rates = list(np.geomspace(1e-6, 1.0, 40))
    losses = [10.0, 5.0, *(4.0 - 0.1 * step for step in range(38))]
    assert suggest(rates, losses) >= rates[4]


@pytest.mark.parametrize("losses", [[1.0] * 10, list(range(1, 11)), list(range(10, 0, -1))], ids=["flat", "up", "down"])
def test_any_curve_has_a_suggestion_among_its_rates(losses: list[float]) -> None:
    rates = list(np.geomspace(1e-6, 1.0, 10))
    assert suggest(rates, [float(loss) for loss in losses]) in rates


def test_the_suggested_rate_learns() -> None:
    objective = Regression()
    objective.net[2] = nn.Identity()
    batch = {"x": torch.linspace(-1, 1, 64).reshape(-1, 1), "y": 3 * torch.linspace(-1, 1, 64).reshape(-1, 1)}
    optimizer = OptimizerConfig()
    rate = lr_range_test(objective, [batch] * 60, cpu(), optimizer, seed=0).suggestion
    engine = Engine(cpu(), objective, optimizer, {"net": Constant(rate)})
    losses = [engine.step(batch, step)["error"] for step in range(60)]
    assert 1e-3 < rate < 1
    assert losses[-1] < 0.05 * losses[0]
