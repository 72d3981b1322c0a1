"""Which snapshot makes the synthetic cells: chosen on validation cells, never by the classifier that scores."""

from collections.abc import Sequence

from hemabridge.errors import InputError
from hemabridge.synthesis.results import SnapshotCheck

SLACK = 0.05
"""A snapshot may fall so far behind the best share of intended classes, and still win by its kernel distance."""


def choose(checks: Sequence[SnapshotCheck]) -> SnapshotCheck:
    """Return the snapshot nearest to real cells among those whose cells are of the intended class as often as any.

    Of those whose share lies at most `SLACK` below the best, the one of the smallest kernel distance; the earlier one
    of two that are equal.

    Raises:
        InputError: there is none.
    """
    if not checks:
        raise InputError("expected at least one snapshot to choose from, got none")
    best = max(check.intended.value for check in checks)
    return min((check for check in checks if check.intended.value >= best - SLACK), key=lambda check: check.kid)
