"""The results of a differential count, as frozen data: cells, fields, and the share of each class. Needs no PyTorch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import ClassVar, Final, Literal

import numpy as np

from hemabridge.domain.site_profile import Answer
from hemabridge.metrics.prevalence import UNLIKE_HOME, Counts, binomial_limits, estimate_shares
from hemabridge.storage.results_file import STRICT, ResultsFile

FILE: Final = "differential.json"

OTHER: Final = "other leukocyte"
"""An expert's answer for a leukocyte of a class that the classifier does not have; it has a share of its own."""

NO_CELL: Final = "no leukocyte"
"""An expert's answer for what is not counted: a platelet clump, a smudge cell, stain."""

CUT: Final = "cut by the border of the field"
"""Reason of a cell that is classified and not counted."""

BLURRED: Final = "blurred"
"""First word of the reason of a blurred cell, or of a blurred field."""


@dataclass(frozen=True)
class CountedCell:
    """A leukocyte that was found in a field.

    Attributes:
        path: of the cell's picture, relative to the folder of the count.
        restained: of the picture after re-staining; empty without re-staining.
        field: path of its field, relative to the folder of fields.
        x, y: center in pixels of the field.
        diameter_um: of the disc with the area of its nucleus.
        um_per_px: of the field.
        border, cluster: whether the border cuts it; whether it touches another leukocyte.
        score: of the detection, 0..1.
        left_out: why it is not counted; empty if it is.
        predicted: the most probable class.
        probabilities: of each class, 0..1.
        guard: verdict of the morphology guard on the re-stained picture; empty without a guard.
        expert: class that an expert gave; None if nobody did.
        unknown: why `hemabridge run` calls it unknown; empty if it does not. It is counted by `predicted`.
        cell_um: diameter of the disc with the area of the whole cell; None if the border cuts it.
    """

    __pydantic_config__ = STRICT

    path: str
    restained: str
    field: str
    x: float
    y: float
    diameter_um: float
    um_per_px: float
    border: bool
    cluster: bool
    score: float
    left_out: str
    predicted: str
    probabilities: tuple[float, ...]
    guard: str
    expert: str | None = None
    unknown: str = ""
    cell_um: float | None = None

    @property
    def number(self) -> int:
        """Of the cell in its field, as at its ring in the overlay."""
        return int(PurePosixPath(self.path).stem)

    @property
    def probability(self) -> float:
        """Of the most probable class."""
        return max(self.probabilities)

    @property
    def class_name(self) -> str:
        """The expert's class, or else the predicted one."""
        return self.predicted if self.expert is None else self.expert

    @property
    def counted(self) -> bool:
        """Whether it is counted."""
        return not self.left_out and self.expert != NO_CELL


@dataclass(frozen=True)
class CountedField:
    """A file of the folder of fields.

    Attributes:
        field: its path.
        status, reason: what `hemabridge find` says of it; cells of a `searched` field are counted.
        leukocytes, platelets, smudges, red_cells: numbers of objects; red cells are an estimate, None if unknown.
        um_per_px: None if unknown.
        width, height: in pixels; None if it could not be read.
        overlay: picture with rings, relative to the folder of the count; empty if there is none.
    """

    __pydantic_config__ = STRICT

    field: str
    status: str
    reason: str
    leukocytes: int
    platelets: int
    smudges: int
    red_cells: int | None
    um_per_px: float | None
    width: int | None
    height: int | None
    overlay: str

    @property
    def used(self) -> bool:
        """Whether its cells are counted."""
        return self.status == "searched"


@dataclass(frozen=True)
class ClassShare:
    """The share of one class.

    Attributes:
        name: of the class.
        counted: number of cells: the expert's class where there is one, else the predicted one.
        checked: how many of them an expert has seen.
        raw, raw_low, raw_high: share of the counted cells with exact binomial 95 % limits, 0..1.
        share, low, high: corrected share and its 95 % interval with counting error and confusion, 0..1; without a
            confusion matrix the raw ones.
        of_100, of_200: exact binomial 95 % limits of this share in a count of 100 and of 200 cells without any error.
    """

    name: str
    counted: int
    checked: int
    raw: float
    raw_low: float
    raw_high: float
    share: float
    low: float
    high: float
    of_100: tuple[float, float]
    of_200: tuple[float, float]


@dataclass(frozen=True)
class DifferentialResults(ResultsFile):
    """The content of `differential.json`.

    Attributes:
        folder: name of the folder of fields.
        model: name of the model, and `model_sha256` the hash of its classifier.
        restained_by: name of the model that re-stains; empty without one.
        classes: of the classifier.
        cells: every leukocyte that was found.
        fields: every file.
        confusion: labeled cells of the home hospital by true class, in the rows, and predicted class; empty: unknown.
        confusion_from: what these cells are.
        site: whether the cells are in-distribution for the classifier; empty if its file does not tell.
        site_fact: what they are like and how far they are from those of its training; empty likewise.
        seed: of the posterior draws.
        cautions: what the run of `hemabridge adapt` says against its classes; empty without such a run, or if it was
            good.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the results of `hemabridge differential`"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "run `hemabridge differential MODEL FIELDS OUT` again"
    KIND: ClassVar[str | None] = "differential"

    folder: str
    model: str
    model_sha256: str
    restained_by: str
    classes: tuple[str, ...]
    cells: tuple[CountedCell, ...]
    fields: tuple[CountedField, ...]
    confusion: tuple[tuple[int, ...], ...]
    confusion_from: str
    site: Answer | Literal[""]
    site_fact: str
    seed: int
    cautions: tuple[str, ...] = ()

    @property
    def counted(self) -> tuple[CountedCell, ...]:
        """The cells that are counted."""
        return tuple(cell for cell in self.cells if cell.counted)

    @property
    def distrusted(self) -> bool:
        """Whether the cells are out-of-distribution for the classifier, and an expert has not seen each counted one."""
        return self.site == "out-of-distribution" and any(cell.expert is None for cell in self.counted)

    @property
    def home_weight(self) -> float:
        """Weight of the cells of `confusion`, 0..1: below 1 where the counted cells are not in-distribution."""
        return UNLIKE_HOME if self.site in ("borderline", "out-of-distribution") else 1.0

    @property
    def matrix(self) -> Counts | None:
        """The confusion matrix, int64[C, C]; None if it is unknown."""
        return np.array(self.confusion, dtype=np.int64) if self.confusion else None

    def corrected(self, answers: Mapping[str, str]) -> "DifferentialResults":
        """Return these results with an expert's classes, by path of the cell; those of before are dropped."""
        return replace(self, cells=tuple(replace(cell, expert=answers.get(cell.path)) for cell in self.cells))

    def shares(self, *, is_like_home: bool = False) -> tuple[ClassShare, ...]:
        """Return the share of each class, in the order of the classes, `OTHER` last if an expert named any.

        Cells that an expert has seen count as certain; the classifier's confusion holds for the others.

        Args:
            is_like_home: take the cells for in-distribution, whatever `site` says, to compare the intervals.
        """
        cells = self.counted
        others = sum(cell.class_name == OTHER for cell in cells)
        known = [cell for cell in cells if cell.class_name != OTHER]
        by_model = _counts([cell.class_name for cell in known if cell.expert is None], self.classes)
        by_expert = _counts([cell.class_name for cell in known if cell.expert is not None], self.classes)
        weight = 1.0 if is_like_home else self.home_weight
        found = estimate_shares(by_model, self.matrix, certain=by_expert, home_weight=weight, seed=self.seed)
        total = len(cells)
        rest = len(known) / total if total else 1.0
        rows = []
        for place, name in enumerate(self.classes):
            counted, checked = int(by_model[place] + by_expert[place]), int(by_expert[place])
            share, low, high = (float(values[place]) * rest for values in (found.share, found.low, found.high))
            rows.append(_row(name, counted, checked, total, (share, low, high)))
        if others:
            rows.append(_row(OTHER, others, others, total, (others / total, *binomial_limits(others, total))))
        return tuple(rows)


def _row(name: str, counted: int, checked: int, total: int, stated: tuple[float, float, float]) -> ClassShare:
    share, low, high = stated
    of_100, of_200 = (binomial_limits(share * cells, cells) for cells in (100, 200))
    raw_low, raw_high = binomial_limits(counted, total)
    return ClassShare(
        name, counted, checked, counted / max(1, total), raw_low, raw_high, share, low, high, of_100, of_200
    )


def _counts(names: list[str], classes: tuple[str, ...]) -> Counts:
    counted = Counter(names)
    return np.array([counted[name] for name in classes], dtype=np.int64)
