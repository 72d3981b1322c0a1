"""What `hemabridge adapt` says of the time that is left."""

import re

import pytest

from hemabridge.workflows.adapt import steps as module
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.adapt.steps import Steps


@pytest.mark.parametrize("before", [0, 900])
def test_no_estimate_rests_on_a_training_that_an_earlier_call_began(
    adapt_config: AdaptConfig, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    said: list[str] = []
    steps = Steps(adapt_config, lambda label, done, total: None if total else said.append(label))
    steps.estimate({name: 100.0 for name in steps.names[2:]})
    first, second = steps.names[2:4]
    steps.begin(first)
    for done in range(before + 32, 1001, 32):  # 10 images a second
        now[0] += 3.2
        steps.progress("training", done, 1000)
    steps.begin(second)
    left = re.search(r"about (\d+ \w+) left of all steps", said[-1])
    assert left is not None
    if before:
        assert said[-1].startswith(f"{first}, which an earlier call began, is done; 3 of {len(steps.names)} steps done")
        assert left[1] == "10 min"  # as planned: the 9.6 s of this call say nothing
    else:
        assert said[-1].startswith(f"{first} took 2 min; 3 of ")
        assert left[1] == "10 min"
