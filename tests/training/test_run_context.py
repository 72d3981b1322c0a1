from types import SimpleNamespace
from typing import Any, cast

import pytest

from hemabridge.errors import InputError, RunError
from hemabridge.training.run_context import one_process, start_fabric


def test_one_device_and_one_process_unless_torchrun_says_otherwise() -> None:
    fabric = start_fabric("cpu")
    assert (fabric.world_size, fabric.device.type) == (1, "cpu")


def test_work_of_one_process_refuses_several() -> None:
    one_process(start_fabric("cpu"), "a study")
    with pytest.raises(RunError, match="expected one process for a study, got 2"):
        one_process(cast(Any, SimpleNamespace(world_size=2)), "a study")


def test_a_device_that_is_not_there_is_a_message() -> None:
    with pytest.raises(InputError, match=r"expected a device of this machine.*got 'abacus'"):
        start_fabric("abacus")
