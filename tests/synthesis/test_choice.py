import pytest

from hemabridge.errors import InputError
from hemabridge.synthesis.choice import SLACK, choose
from hemabridge.synthesis.results import Share, SnapshotCheck


def check(name: str, count: int, kid: float) -> SnapshotCheck:
    return SnapshotCheck(name, 10, Share(count, 100, (0.0, 1.0)), kid)


def test_the_nearest_to_real_cells_wins_among_those_of_the_class() -> None:
    checks = [check("a", 40, 0.01), check("b", 96, 0.4), check("c", 98, 0.5), check("d", 94, 0.2), check("e", 92, 0.1)]
    assert SLACK == 0.05
    assert choose(checks).snapshot == "d"


def test_the_earlier_one_of_two_equals_is_taken() -> None:
    assert choose([check("a", 90, 0.2), check("b", 90, 0.2)]).snapshot == "a"


def test_no_snapshot_is_refused() -> None:
    with pytest.raises(InputError, match="at least one snapshot"):
        choose([])
