import numpy as np
import pytest

from hemabridge.guard.morphology import BAD, Morphology
from hemabridge.guard.thresholds import FLOORS, floors
from hemabridge.guard.verdict import verdicts_of


def cells(count: int, **values: list[float]) -> Morphology:
    unchanged = {name: np.full(count, 1.0 if bad == "low" else 0.0) for name, bad in BAD.items()}
    return Morphology(**unchanged | {name: np.array(row) for name, row in values.items()})


def test_unchanged_cells_pass_without_a_reason() -> None:
    found = verdicts_of(cells(2), floors())
    assert (found.verdicts, found.reasons) == (("pass", "pass"), ((), ()))
    assert found.severity.tolist() == [0, 0]


@pytest.mark.parametrize("name", BAD)
def test_each_measure_alone_warns_and_refuses(name: str) -> None:
    warn, refuse = FLOORS[name]
    step = -1e-6 if BAD[name] == "low" else 1e-6
    values = [warn, warn + step, refuse, refuse + step]
    found = verdicts_of(cells(4, **{name: values}), floors())
    assert found.verdicts == ("pass", "warn", "warn", "refuse")
    assert found.reasons == ((), (name,), (name,), (name,))
    assert found.severity[2:] == pytest.approx([1, 1], abs=1e-3)


@pytest.mark.parametrize("name", [name for name, bad in BAD.items() if bad == "either"])
def test_both_directions_are_bad(name: str) -> None:
    refuse = FLOORS[name][1]
    assert verdicts_of(cells(2, **{name: [-2 * refuse, 2 * refuse]}), floors()).count("refuse") == 2


def test_reasons_are_those_of_the_verdict_and_the_worst_comes_first() -> None:
    # residual 0.6 / 0.3 = 2; nucleus_dice (1 - 0.64) / 0.12 = 3; granule_change 3 warns only.
    found = verdicts_of(cells(1, residual=[0.6], nucleus_dice=[0.64], granule_change=[3.0]), floors())
    assert found.reasons == (("nucleus_dice", "residual"),)
    assert found.severity == pytest.approx([3])
    assert found.refused.tolist() == [True]


def test_counts() -> None:
    found = verdicts_of(cells(3, residual=[0.1, 0.25, 0.9]), floors())
    assert [found.count(verdict) for verdict in ("pass", "warn", "refuse")] == [1, 1, 1]
    assert len(found) == 3
