import pytest
import torch

from hemabridge.training.schedules import ConstantThenLinear, OneCycle

EPOCH = 10


def rate_of_epoch(schedule: ConstantThenLinear, epoch: int) -> float:
    """The factor in epoch 1, 2, ...; it does not change within an epoch."""
    first = schedule.learning_rate((epoch - 1) * EPOCH)
    assert first == schedule.learning_rate(epoch * EPOCH - 1)
    return first


@pytest.mark.parametrize(("epoch", "factor"), [(1, 1.0), (99, 1.0), (100, 0.990), (199, 0.0099), (200, 0.0)])
def test_reference_stepping_decays_one_epoch_early_and_ends_at_zero(epoch: int, factor: float) -> None:
    schedule = ConstantThenLinear(1.0, EPOCH, 100, 100, "reference")
    assert rate_of_epoch(schedule, epoch) == pytest.approx(factor, abs=5e-4)
    assert epoch != 200 or rate_of_epoch(schedule, epoch) == 0.0


@pytest.mark.parametrize(("epoch", "factor"), [(1, 1.0), (100, 1.0), (101, 1 - 1 / 101), (200, 1 / 101)])
def test_corrected_stepping_is_constant_for_all_constant_epochs_and_learns_to_the_end(
    epoch: int, factor: float
) -> None:
    schedule = ConstantThenLinear(1.0, EPOCH, 100, 100, "corrected")
    assert rate_of_epoch(schedule, epoch) == pytest.approx(factor)


def test_one_cycle_agrees_with_torch() -> None:
    steps, peak, images = 200, 0.01, 1_000_000
    ours = OneCycle(peak, images)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps, pct_start=0.25, div_factor=25, final_div_factor=1e5 / 25
    )
    last_of_rise = 0.25 * steps - 1  # torch ends its phases on the last step that belongs to them
    for step in range(steps):
        place = 0.25 * step / last_of_rise
        if step > last_of_rise:
            place = 0.25 + 0.75 * (step - last_of_rise) / (steps - 1 - last_of_rise)
        group = optimizer.param_groups[0]
        assert ours.learning_rate(round(place * images)) == pytest.approx(group["lr"], rel=1e-3)
        assert ours.momentum(round(place * images)) == pytest.approx(group["betas"][0], rel=1e-3)
        optimizer.step()
        theirs.step()


def test_one_cycle_is_exactly_zero_before_it_starts() -> None:
    schedule = OneCycle(0.01, 100, start_images=40)
    assert schedule.learning_rate(39) == 0.0
    assert schedule.learning_rate(40) == pytest.approx(0.01 / 25)
    assert schedule.learning_rate(55) == pytest.approx(0.01)
    assert schedule.momentum(40) == pytest.approx(0.95)
    assert schedule.momentum(55) == pytest.approx(0.85)
