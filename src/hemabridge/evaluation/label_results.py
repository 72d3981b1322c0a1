"""The results of an expert's labels of another hospital's cells, as frozen data. Needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from hemabridge.storage.results_file import STRICT, ResultsFile

FILE: Final = "label.json"


@dataclass(frozen=True)
class LabeledCell:
    """A cell with a label of the expert.

    Attributes:
        path: of its file, relative to the folder.
        label: as the expert gave it; nothing learns from `unknown`, or any other class that the run does not have.
        is_used: whether it is a class of the run.
        before: predicted class without labels.
        held_out: predicted class from all other labels, without this one; None if `is_used` is false.
        after: predicted class from all labels, if they are used.
    """

    __pydantic_config__ = STRICT

    path: str
    label: str
    is_used: bool
    before: str
    held_out: str | None
    after: str


@dataclass(frozen=True)
class SiteSummary:
    """What is predicted for all cells of the folder, of which no class is known.

    Attributes:
        confidence: mean largest probability, 0..1.
        counts: number of cells of each predicted class.
    """

    __pydantic_config__ = STRICT

    confidence: float
    counts: dict[str, int]

    @property
    def expected_errors(self) -> float:
        """Number of wrong predictions if the probabilities are right."""
        return (1 - self.confidence) * sum(self.counts.values())


@dataclass(frozen=True)
class ClassifierSummary:
    """The single classifier that learned the labels.

    Attributes:
        home_part: the part of the run's own cells on which it is measured; no classifier learned from it.
        home_cells: number of these cells.
        home_before: balanced accuracy on them of the classifier that was in use, or began, without labels, 0..1.
        home_after: that of this classifier.
        same_class: share of the folder's cells of which it predicts the class that the table states.
        is_kept: whether it was written; it is not if it costs more than one point at home.
    """

    __pydantic_config__ = STRICT

    home_part: str
    home_cells: int
    home_before: float
    home_after: float
    same_class: float
    is_kept: bool


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
        run: name of the run or study.
        folder: name of the folder of images.
        classes: of the run.
        cells: every labeled cell.
        used: whether the labels are used. They are not if fewer labeled cells would be predicted right.
        classifier: the one that learned the labels; None if none was trained.
        agreement: soft agreement of color and shape members without labels, 0..1; None without shape members.
        before, after: of all cells of the folder.
        changed: number of cells of the folder whose predicted class changed.
        following: the cells that should be labeled next.
        facts: seed and sizes.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the results of `hemabridge label`"
    FORMAT: ClassVar[int] = 2
    AGAIN: ClassVar[str] = "run `hemabridge label RUN FOLDER --out OUT` again"
    KIND: ClassVar[str | None] = "label"

    run: str
    folder: str
    classes: tuple[str, ...]
    cells: tuple[LabeledCell, ...]
    used: bool
    classifier: ClassifierSummary | None
    agreement: float | None
    before: SiteSummary
    after: SiteSummary
    changed: int
    following: tuple[NextCell, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def used_cells(self) -> tuple[LabeledCell, ...]:
        """The cells with a label of one of the run's classes."""
        return tuple(cell for cell in self.cells if cell.is_used)

    @property
    def right(self) -> tuple[int, int]:
        """Number of `used_cells` that are predicted right without labels, and each from all other labels."""
        cells = self.used_cells
        return sum(cell.before == cell.label for cell in cells), sum(cell.held_out == cell.label for cell in cells)

    @property
    def corrected(self) -> float | None:
        """Share of the errors on labeled cells that the other labels corrected, net of new ones; None without any."""
        before, held_out = self.right
        wrong = len(self.used_cells) - before
        return None if wrong == 0 else (held_out - before) / wrong

    @property
    def next_gain(self) -> float | None:
        """Points of accuracy, 0..1, that as many further labels would add; None if nothing can be said.

        As large a share of the expected errors that are left is assumed to be corrected as the first labels corrected.
        If they corrected none among themselves, that says nothing about the rest: they were chosen to be unlike.
        """
        total = sum(self.after.counts.values())
        if self.corrected is None or self.corrected <= 0 or total == 0:
            return None
        return self.corrected * self.after.expected_errors / total
