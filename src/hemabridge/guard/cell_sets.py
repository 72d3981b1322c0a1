"""The guard over sets of cells that were re-stained already, as those of a study are."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.guard.morphology import Morphology, compare
from hemabridge.guard.thresholds import Thresholds
from hemabridge.guard.verdict import Verdicts, verdicts_of


@dataclass(frozen=True, eq=False)
class GuardedCells:
    """What the guard says of each cell of a set.

    Attributes:
        ids: of the cells, in their order.
        verdicts: of each cell.
        morphology: on which they rest.
    """

    ids: tuple[str, ...]
    verdicts: Verdicts
    morphology: Morphology

    @property
    def refused_share(self) -> float:
        """Share of the cells that are refused, 0..1; 0 without cells."""
        return self.verdicts.count("refuse") / len(self.ids) if self.ids else 0.0

    def reasons(self) -> dict[str, int]:
        """Return how many refused cells each measure is a reason for, the most frequent first."""
        refused = zip(self.verdicts.verdicts, self.verdicts.reasons, strict=True)
        return dict(Counter(name for verdict, names in refused if verdict == "refuse" for name in names).most_common())

    def worst(self, count: int) -> list[int]:
        """Return the places of at most `count` refused cells, the most changed first."""
        order = np.argsort(-self.verdicts.severity, kind="stable")
        return [int(place) for place in order if self.verdicts.refused[place]][:count]


def guard_cells(before: CellSet, after: CellSet, thresholds: Thresholds) -> GuardedCells:
    """Compare each cell before against after re-staining and hold it against the thresholds.

    Raises:
        InputError: the sets are not the same cells in the same order.
        ImageError: their images differ in shape.
    """
    if before.ids != after.ids:
        raise InputError(
            f"expected the same cells in one order, got {len(before)} before and {len(after)} others after"
        )
    morphology = compare(before.images, after.images)
    return GuardedCells(before.ids, verdicts_of(morphology, thresholds), morphology)


def with_fallback(after: CellSet, fallback: CellSet, verdicts: Verdicts) -> CellSet:
    """Return the re-stained cells, with those of the fallback in the place of refused ones.

    Raises:
        InputError: the sets are not the same cells in the same order, or the verdicts are not theirs.
    """
    if after.ids != fallback.ids or len(after) != len(verdicts):
        raise InputError(f"expected one verdict and one fallback for each of {len(after)} cells; make them of the same")
    chosen = np.where(verdicts.refused[:, None, None, None], fallback.images, after.images)
    return replace(after, images=chosen)
