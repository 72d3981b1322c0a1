"""The results of fine-tuning an ensemble on an expert's labels of a new hospital, as frozen data. Needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from hemabridge.storage.results_file import STRICT, ResultsFile

FILE: Final = "label.json"


@dataclass(frozen=True)
class LabeledCell:
    """A cell with a label of the expert.

    Attributes:
        path: of its file, relative to the folder.
        label: as the expert gave it; `unknown`, or any other class that the study does not have, is not trained on.
        trained_on: whether it is a class of the study.
        before: predicted class without labels.
        held_out: predicted class by members that were fine-tuned on the other labels; None without cross-validation.
        after: predicted class by the final ensemble, which was trained on this label if it is used.
    """

    __pydantic_config__ = STRICT

    path: str
    label: str
    trained_on: bool
    before: str
    held_out: str | None
    after: str


@dataclass(frozen=True)
class SiteSummary:
    """What an ensemble predicts for all cells of the folder, of which no class is known.

    Attributes:
        agreement: soft agreement of color and shape members, 0..1; None without shape members.
        confidence: mean largest probability, 0..1.
        counts: number of cells of each predicted class.
    """

    __pydantic_config__ = STRICT

    agreement: float | None
    confidence: float
    counts: dict[str, int]

    @property
    def expected_errors(self) -> float:
        """Number of wrong predictions if the probabilities are right."""
        return (1 - self.confidence) * sum(self.counts.values())


@dataclass(frozen=True)
class NextCell:
    """A cell that should be labeled next: its path, predicted class and the probability of this class."""

    __pydantic_config__ = STRICT

    path: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class LabelResults(ResultsFile):
    """The content of `label.json`.

    Attributes:
        study: name of the study.
        folder: name of the folder of images.
        classes: of the study.
        cells: every labeled cell.
        folds: of the cross-validation; 0 without one.
        used: whether the labels are used. They are not if that would do harm.
        home_part: the part of the target's cells on which home accuracy is measured.
        home: balanced accuracy on it, 0..1: before, and after each round of fine-tuning that was kept.
        stopped: whether fine-tuning stopped early, since home accuracy fell too far.
        before, after: of all cells of the folder.
        changed: number of cells of the folder whose predicted class changed.
        following: the cells that should be labeled next.
        facts: seed and sizes.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the results of `hemabridge label`"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "run hemabridge label again"
    KIND: ClassVar[str | None] = "label"

    study: str
    folder: str
    classes: tuple[str, ...]
    cells: tuple[LabeledCell, ...]
    folds: int
    used: bool
    home_part: str
    home: tuple[float, ...]
    stopped: bool
    before: SiteSummary
    after: SiteSummary
    changed: int
    following: tuple[NextCell, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def trained_on(self) -> tuple[LabeledCell, ...]:
        """The cells with a label of one of the study's classes."""
        return tuple(cell for cell in self.cells if cell.trained_on)

    @property
    def right(self) -> tuple[int, int | None, int]:
        """Number of `trained_on` cells that are predicted right before, held out (None: not validated) and after."""
        cells = self.trained_on
        held_out = sum(cell.held_out == cell.label for cell in cells) if self.folds else None
        before, after = (sum(said == cell.label for cell, said in pairs) for pairs in self._pairs())
        return before, held_out, after

    def _pairs(self) -> tuple[list[tuple[LabeledCell, str]], list[tuple[LabeledCell, str]]]:
        cells = self.trained_on
        return [(cell, cell.before) for cell in cells], [(cell, cell.after) for cell in cells]

    @property
    def corrected(self) -> float | None:
        """Share of the errors on labeled cells that the other labels corrected, net of new ones; None if unknown."""
        before, held_out, _ = self.right
        wrong = len(self.trained_on) - before
        return None if held_out is None or wrong == 0 else (held_out - before) / wrong

    @property
    def next_gain(self) -> float | None:
        """Points of accuracy, 0..1, that as many further labels would add; None if nothing can be said.

        As large a share of the expected errors that are left is assumed to be corrected as the first labels corrected.
        """
        total = sum(self.after.counts.values())
        if self.corrected is None or total == 0:
            return None
        return max(0.0, self.corrected) * self.after.expected_errors / total
