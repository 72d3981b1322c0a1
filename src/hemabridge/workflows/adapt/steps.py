"""The steps of `hemabridge adapt`: their numbers in its progress, and the time that is left of the whole."""

import time
from collections.abc import Mapping
from typing import Final

from hemabridge.ensemble.members import member_names
from hemabridge.progress import Progress
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.study.outlook import CLASSIFIED_IMAGE, Outlook, training_seconds

LABELED_CELLS: Final = "your labeled cells"
NEW_CELLS: Final = "the other hospital's cells"
FIT: Final = "the fit to the other hospital"
ENSEMBLE: Final = "the ensemble's classes"
ONE_CLASSIFIER: Final = "one classifier for daily use"
MEASURES: Final = "the measures"
RESULTS_OF_RUN: Final = "the class and the re-stained picture of each image"

# Seconds on two CPU cores, from `benchmarks/speed.py`; only their ratios matter once a classifier is trained.
PREDICTED_IMAGE: Final = 0.0015
"""Seconds in which a classifier predicts the class of an image of 64 x 64 px."""
RESTAINED_PHOTOGRAPH: Final = 0.05
"""Seconds of reading, classifying, re-staining, checking and writing one image of a folder."""
VIEWS: Final = 4
"""Views of each cell from which the ensemble predicts."""

MOST_REPORTED: Final = 2
"""Work of which more than so many times the part between two reports was done before its first is resumed."""


class Steps:
    """Numbers the steps of one call in the labels of its progress, and reports after each how much time is left.

    Steps of an earlier call are passed over.

    Attributes:
        names: of all steps, in their order.
    """

    def __init__(self, config: AdaptConfig, progress: Progress) -> None:
        own = (FIT, ENSEMBLE, ONE_CLASSIFIER, MEASURES, RESULTS_OF_RUN)
        self.names = (LABELED_CELLS, NEW_CELLS, *member_names(config.members), *own)
        self._tell = progress
        self._outlook: Outlook | None = None
        self._now: str | None = None
        self._began, self._worked = 0.0, False
        self._first: dict[str, int] = {}
        self._resumed = False

    def progress(self, label: str, done: int, total: int) -> None:
        """Report progress of the present step, with its number; a message (`total` 0) is passed on as it is."""
        self._worked = True
        if total:
            self._look_for_resumed(label, done)
        if total and self._now is not None:
            label = f"step {self.names.index(self._now) + 1} of {len(self.names)}: {label}"
        self._tell(label, done, total)

    def estimate(self, seconds: Mapping[str, float]) -> None:
        """End the present step, and report after each that follows how much time is left.

        Args:
            seconds: expected seconds of the steps that follow; only their ratios matter once one of them is done.
        """
        plan = {name: seconds.get(name, 0.0) for name in self.names}
        self._outlook = Outlook(plan, self._tell, parts="steps", whole="all steps")
        self._now = None

    def begin(self, name: str) -> None:
        """End the present step, and begin another."""
        self.end()
        self._now, self._began, self._worked = name, time.monotonic(), False
        self._first, self._resumed = {}, False
        if self._outlook is not None:
            for before in self.names[: self.names.index(name)]:
                self._outlook.pass_over(before)
            self._outlook(name, None)

    def end(self) -> None:
        """End the present step, if there is one; one in which nothing was done has been done by an earlier call."""
        if self._now is not None and self._outlook is not None and self._worked:
            if self._resumed:
                self._outlook.pass_over(self._now)
            else:
                self._outlook(self._now, time.monotonic() - self._began)
        self._now = None

    def _look_for_resumed(self, label: str, done: int) -> None:
        """Notice work that did not begin at its beginning: more was done before its first report than between two."""
        first = self._first.setdefault(label, done)
        if done > first:
            self._resumed |= first > MOST_REPORTED * (done - first)
            self._first[label] = 0


def step_seconds(config: AdaptConfig, target: int, source: int, home: int) -> dict[str, float]:
    """Return rough durations of the steps after the cells are read, in seconds on two CPU cores.

    Args:
        config: settings of the trainings.
        target: number of labeled cells for training.
        source: number of cells of the other hospital.
        home: number of one's own cells that are held out.
    """
    trained = [spec.train for spec in config.members for _ in range(spec.count)]
    plan = {
        name: training_seconds(train, target) for name, train in zip(member_names(config.members), trained, strict=True)
    }
    kinds = 1 + len(config.ensemble.restainings)
    shape = sum(train.view == "shape" for train in trained)
    color = len(trained) - shape
    once = PREDICTED_IMAGE * (kinds * color + shape)
    return plan | {
        FIT: once * source * (1 + 2 * config.ensemble.adabn_rounds),
        ENSEMBLE: once * source * 2 * VIEWS,
        ONE_CLASSIFIER: CLASSIFIED_IMAGE * config.distillation.images,
        MEASURES: PREDICTED_IMAGE * (len(trained) * home * VIEWS + kinds * color * source),
        RESULTS_OF_RUN: RESTAINED_PHOTOGRAPH * source,
    }
