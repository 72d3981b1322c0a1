"""The result of `hemabridge adapt` in its run folder, which `hemabridge run` reads. Imports no PyTorch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from hemabridge.errors import InputError
from hemabridge.imaging.scale import MAX_CROP_PX
from hemabridge.metrics.statistics import Interval, mean_of_fractions_interval
from hemabridge.models.classified import UNKNOWN
from hemabridge.storage.results_file import STRICT, ResultsFile
from hemabridge.storage.run_folder import kind_of_run
from hemabridge.storage.settings_file import each_once
from hemabridge.workflows.adapt.certainty import KNOWN_REFUSED

ADAPTED_FILE: Final = "adapted.json"

EXAMPLES: Final = "examples"
"""Folder of a run of `hemabridge label`: some images of the other hospital, on which a bundle is compared."""


def _instead(folder: Path) -> str:
    """Return what to do with a folder that is no finished run."""
    kind = kind_of_run(folder)
    if kind == "study":
        return f"a study classifies by `hemabridge evaluate {folder} IMAGES OUT`"
    if kind == "adapt":
        return f"run the same `hemabridge adapt OURS NEW --out {folder}` again, which goes on where it was stopped"
    return "run `hemabridge adapt OURS NEW --out RUN`"


def is_adapt_run(folder: Path) -> bool:
    """Return whether a folder is a run of `hemabridge adapt`, finished or not; `Adapted.of_folder` refuses the latter.

    Every command that takes such a run among other models asks this, so that all say the same of an unfinished one.
    """
    return (folder / ADAPTED_FILE).is_file() or kind_of_run(folder) == "adapt"


@dataclass(frozen=True)
class Adapted(ResultsFile):
    """The content of `adapted.json`.

    Attributes:
        classes: class names.
        target, source: names of one's own hospital and of the other.
        target_cells, source_cells: number of cells for training; those of the source are used without labels.
        crop_px: square around a cell in the source's images, in pixels.
        classifier: the snapshot of the distilled classifier, relative to the run folder.
        normalizer: the JSON file of the re-stainer, likewise.
        home_accuracy: balanced accuracy of the classifier on one's own held-out cells, 0..1.
        home_scored: number of these cells.
        same_class: share of the source's cells of which classifier and ensemble predict the same class.
        agreement: soft agreement of color and shape members on the source's cells, 0..1.
        home_agreement: the same on one's own held-out cells.
        prevalence: share of each class among the classes that the classifier predicts for the source's cells.
        left_out: normalizers that make implausible colors, and those colors.
        unknown_below: a cell whose largest probability is below this is called unknown; None if no cell is.
        certainties: quantiles of the classifier's largest probabilities of the source's cells, ascending.
        guarded: whether the re-stained images are checked by the morphology guard.
        pretrained: whether training started from pretrained weights.
        home_confusion: own held-out cells of each class, in the rows, by predicted class; empty of an earlier version.
        source_labels: number of cells of the source whose label an expert gave (`hemabridge label`).
        too_few: classes of one's own hospital that are left out, and how many cells of each there were.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the result of `hemabridge adapt`"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "run `hemabridge adapt OURS NEW --out RUN` again"
    KIND: ClassVar[str | None] = "adapted"

    classes: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(each_once)]
    target: str
    source: str
    target_cells: int
    source_cells: int
    crop_px: Annotated[int, Field(ge=1, le=MAX_CROP_PX)]
    classifier: str
    normalizer: str
    home_accuracy: float
    home_scored: int
    same_class: float
    agreement: float
    home_agreement: float
    prevalence: dict[str, float]
    left_out: dict[str, str]
    unknown_below: float | None
    certainties: tuple[float, ...]
    guarded: bool
    pretrained: bool
    home_confusion: tuple[tuple[int, ...], ...] = ()
    source_labels: int = 0
    too_few: dict[str, int] = field(default_factory=dict)

    @property
    def home_interval(self) -> Interval | None:
        """95% interval of `home_accuracy` (`mean_of_fractions_interval`); None of an earlier version."""
        right = [row[place] for place, row in enumerate(self.home_confusion) if sum(row)]
        counts = [sum(row) for row in self.home_confusion if sum(row)]
        return mean_of_fractions_interval(right, counts) if counts else None

    @classmethod
    def of_folder(cls, folder: Path) -> "Adapted":
        """Read the file of a run folder.

        Raises:
            InputError: it is no finished run of `hemabridge adapt`, or the file is damaged.
        """
        if not (folder / ADAPTED_FILE).is_file():
            raise InputError(
                f"expected a finished run folder of `hemabridge adapt`, got {folder} without {ADAPTED_FILE}; "
                f"{_instead(folder)}"
            )
        return cls.read(folder / ADAPTED_FILE)

    def file(self, folder: Path, name: str) -> Path:
        """Return a file by its path relative to the run folder.

        Raises:
            InputError: it is missing, or outside of the folder.
        """
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise InputError(f"expected a file of the run {folder}, got {name} in {ADAPTED_FILE}; {self.AGAIN}")
        return path

    @property
    def cautions(self) -> tuple[str, ...]:
        """What speaks against the classes of this hospital; whatever the run classifies or counts repeats them."""
        found = []
        if self.too_few:
            names = ", ".join(f"{name} ({count} cells)" for name, count in self.too_few.items())
            found.append(
                f"CAUTION: these classes of yours had too few cells to learn from: {names}. The classifier does not "
                "know them, and gives such a cell another class."
            )
        if self.agreement < _LEAST_AGREEMENT * self.home_agreement:
            found.append(
                "CAUTION: classifiers that see color and those that see shape agree on fewer cells of "
                f"{self.source} than of {self.target} ({self.agreement:.2f}, there {self.home_agreement:.2f}). Have an "
                "expert look at some cells before you use their classes."
            )
        if self.home_accuracy < _LEAST_HOME:
            found.append(
                "CAUTION: the classifier is weak even on your own cells. Check their labels, or give more "
                "cells of each class."
            )
        if not self.pretrained:
            found.append(
                "CAUTION: training began from random weights, which costs much accuracy. Give pretrained weights: "
                "--weights download, or --weights FILE (safetensors of timm's mobilenetv2_100)."
            )
        return tuple(found)

    def lines(self) -> list[str]:
        """Return the facts for the user, one line each."""
        share = ", ".join(f"{name} {100 * value:.0f} %" for name, value in self.prevalence.items())
        interval = self.home_interval
        ends = "" if interval is None else f" (95% interval {interval[0]:.3f} to {interval[1]:.3f})"
        lines = [
            f"Own hospital ({self.target}): learned from {self.target_cells} labeled cells of {len(self.classes)} "
            f"classes. Balanced accuracy on {self.home_scored} cells held out: {self.home_accuracy:.3f}"
            f"{ends}.",
            self._of_source(),
            f"Classifiers that see color and those that see shape agree to {self.agreement:.2f} (own hospital "
            f"{self.home_agreement:.2f}; by chance {1 / len(self.classes):.2f}).",
            f"Predicted there: {share}. Compare this with what you expect.",
            f"One classifier stands for all: it predicts the same class as they for {100 * self.same_class:.0f} % of "
            "those cells.",
            self._of_unknown(),
        ]
        lines += self.cautions
        if not self.guarded:
            lines.append("The morphology of re-stained images is not checked: there are too few of your own cells.")
        lines += [f"{name} was left out: it makes implausible colors ({what})." for name, what in self.left_out.items()]
        return lines

    def _of_source(self) -> str:
        if self.source_labels:
            return (
                f"Other hospital ({self.source}): fitted to {self.source_cells} cells, {self.source_labels} of them "
                "with labels of an expert. The report of `hemabridge label` says what these changed."
            )
        return (
            f"Other hospital ({self.source}): fitted to {self.source_cells} cells without labels. How many of its "
            "classes are right is not known without labels; the next lines are signs."
        )

    def _of_unknown(self) -> str:
        order = (
            f"An image that shows no single leukocyte is {UNKNOWN} in any case. The column uncertainty orders the "
            "cells; have the first ones looked at."
        )
        if self.unknown_below is None:
            return (
                f"No cell is called {UNKNOWN} for its probability: the classifier is less certain there than on your "
                f"own cells, so their limit would refuse many good cells. A cell of another class gets one of yours. "
                f"{order}"
            )
        return (
            f"A cell whose largest probability is below {self.unknown_below:.2f} is called {UNKNOWN}; so it is with "
            f"{100 * KNOWN_REFUSED:.0f} % of your own cells. Many cells of other classes are above it. {order}"
        )


_LEAST_AGREEMENT: Final = 0.6
"""Below this share of the agreement at home a caution is printed. It is derived from no labels."""

_LEAST_HOME: Final = 0.85
"""Below this balanced accuracy on held-out cells of one's own hospital a caution is printed."""
