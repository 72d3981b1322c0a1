"""The guard for sets of cells that are re-stained already, such as those of a study."""

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
    """The verdicts of the guard on the cells of a set.

    Attributes:
        ids: ids of the cells, in their order.
        verdicts: the verdict on each cell.
        morphology: the measures of each cell.
    """

    ids: tuple[str, ...]
    verdicts: Verdicts
    morphology: Morphology

    @property
    def refused_share(self) -> float:
        """Share of the cells that are refused, 0..1; 0 without cells."""
        return self.verdicts.count("refuse") / len(self.ids) if self.ids else 0.0

    def reasons(self) -> dict[str, int]:
        """Return the number of refused cells for which each measure is a reason, the most frequent one first."""
        refused = zip(self.verdicts.verdicts, self.verdicts.reasons, strict=True)
        return dict(Counter(name for verdict, names in refused if verdict == "refuse" for name in names).most_common())

    def worst(self, count: int) -> list[int]:
        """Return the indices of at most `count` refused cells, the most changed one first."""
        order = np.argsort(-self.verdicts.severity, kind="stable")
        return [int(place) for place in order if self.verdicts.refused[place]][:count]


def guard_cells(before: CellSet, after: CellSet, thresholds: Thresholds) -> GuardedCells:
    """Compare each cell before and after re-staining, and give a verdict by the thresholds.

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
    """Return the re-stained cells, with refused ones replaced by those of the fallback.

    Raises:
        InputError: the sets are not the same cells in the same order, or there is another number of verdicts.
    """
    if after.ids != fallback.ids or len(after) != len(verdicts):
        raise InputError(f"expected one verdict and one fallback for each of {len(after)} cells; make them of the same")
    chosen = np.where(verdicts.refused[:, None, None, None], fallback.images, after.images)
    return replace(after, images=chosen)
