"""How often each cell is shown, so that a translator does not learn which cells a site has most of."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.domain.site_profile import descriptors_of, kinds_of
from hemabridge.errors import InputError

Balance = Literal["none", "target", "both"]
Chances = NDArray[np.float64]


def chances_of(balance: Balance, source: CellSet, target: CellSet) -> tuple[Chances | None, Chances | None]:
    """Return the chance of each cell of both sites to be drawn, float64[N] and float64[M]; None: as they come.

    Sites that hold other mixes of cells are told apart by their mix, and a translator that is judged by that turns
    cells of one class into those of another. Each class of the target comes equally often by its labels, cells without
    one do not come. The source has no labels: its cells are parted into as many kinds as the target has classes, by
    what they look like.

    Raises:
        InputError: a target without labels cannot be balanced.
    """
    if balance == "none":
        return None, None
    labeled = [np.flatnonzero(target.labels == label) for label in np.unique(target.labels) if label != UNKNOWN]
    if not labeled:
        raise InputError("balance: expected cells of the target with classes, got none; name them, or do not balance")
    own = _evenly(labeled, len(target))
    if balance == "target":
        return None, own
    return _evenly(kinds_of(descriptors_of(list(source.images)), len(labeled)), len(source)), own


def _evenly(groups: Sequence[NDArray[np.intp]], count: int) -> Chances:
    """Return chances, float64[count], of which each group of rows has the same share."""
    chances = np.zeros(count)
    for rows in groups:
        chances[rows] = 1 / (len(groups) * len(rows))
    return chances
