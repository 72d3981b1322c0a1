"""The learning-rate range test (Smith 2017, doi:10.1109/WACV.2017.58)."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric

from hemabridge.errors import NonFiniteLossError, TrainingError
from hemabridge.progress import Progress, silent
from hemabridge.training.config import OptimizerConfig
from hemabridge.training.engine import Engine
from hemabridge.training.objective import Batch, Objective
from hemabridge.training.schedules import Exponential

SMOOTHING = 0.9
"""Weight of the past in the moving average of the losses."""
BLOWN_UP = 4.0
"""The test ends when the smoothed loss is this many times its minimum."""


@dataclass(frozen=True)
class RangeTest:
    """Result of a range test: the rates tried, the smoothed loss at each, and the suggested rate."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def lr_range_test(
    objective: Objective,
    batches: Iterable[Batch],
    fabric: Fabric,
    optimizer: OptimizerConfig,
    *,
    seed: int,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 60,
    progress: Progress = silent,
) -> RangeTest:
    """Train from `lowest` to `highest` rate, exponentially, for up to `steps` batches; then undo the training.

    Raises:
        TrainingError: fewer than 10 steps could be made before the loss blew up, or there were no batches.
    """
    before = {name: copy.deepcopy(net.state_dict()) for name, net in objective.nets.items()}
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    ramp = Exponential(lowest, highest, steps - 1)
    engine = Engine(fabric, objective, optimizer, dict.fromkeys(objective.nets, ramp))
    torch.manual_seed(seed)
    try:
        for step, batch in enumerate(batches):
            if step == steps:
                break
            loss = sum(engine.step(batch, step).values())
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            rates.append(ramp.learning_rate(step))
            losses.append(average / (1 - SMOOTHING ** (step + 1)))
            progress("looking for a learning rate", step + 1, steps)
            if losses[-1] > BLOWN_UP * min(losses):
                break
    except NonFiniteLossError:
        pass  # ends the test, like a loss above the bound; the number of steps is checked below
    finally:
        for name, state in before.items():
            objective.nets[name].load_state_dict(state)
    if len(rates) < 10:
        raise TrainingError(
            f"expected at least 10 steps of the learning-rate range test, got {len(rates)}; "
            "check the labels and the images, or give the learning rate in the recipe"
        )
    return RangeTest(tuple(rates), tuple(losses), suggest(rates, losses))


def suggest(rates: list[float], losses: list[float]) -> float:
    """Return the rate at which the smoothed loss falls fastest per decade of the rate, before its minimum.

    Rates ascend. The first tenth, where the average has not settled, and all rates after the minimum are ignored.
    """
    end = max(int(np.argmin(losses)), 3)
    slopes = np.gradient(np.asarray(losses), np.log10(np.asarray(rates)))
    start = min(len(rates) // 10, end - 1)
    return float(rates[start + int(np.argmin(slopes[start : end + 1]))])
