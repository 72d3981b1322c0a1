"""What the morphology guard said of a study's re-stained test cells, as frozen data."""

from dataclasses import dataclass
from typing import Literal

from hemabridge.storage.results_file import STRICT


@dataclass(frozen=True)
class CellVerdict:
    """What the guard said of one cell.

    Attributes:
        id: its path in the manifest.
        verdict: `refuse`: more than its colors changed; `warn`: in doubt; `pass`.
        reasons: measures beyond the limit of the verdict, worst first; none if it passed.
        severity: the worst measure's distance from "unchanged", as a share of that at which a cell is refused.
    """

    __pydantic_config__ = STRICT

    id: str
    verdict: Literal["pass", "warn", "refuse"]
    reasons: tuple[str, ...]
    severity: float


@dataclass(frozen=True)
class MorphologyCheck:
    """One re-staining of the source's test cells under the guard.

    Attributes:
        images: the method.
        snapshot: of a translator, by name; None for a normalizer.
        n: cells.
        passed, warned, refused: how many of them got the verdicts `pass`, `warn` and `refuse`.
        reasons: how many refused cells each measure is a reason for, the most frequent first.
        limits_from: the target's held-out cells from which the limits were learned; 0: there were too few, and the
            strictest limits were taken.
        cells: in their order.
    """

    __pydantic_config__ = STRICT

    images: str
    snapshot: str | None
    n: int
    passed: int
    warned: int
    refused: int
    reasons: dict[str, int]
    limits_from: int
    cells: tuple[CellVerdict, ...]
