"""The predictions of one classifier or ensemble for new cells, and their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.pooling import with_one_classifier
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.workflows.study.ensemble_stage import NAME as ENSEMBLE

ONE_CLASSIFIER: Final = "one classifier"
"""The name of the classifier into which the ensemble is distilled for a hospital."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions of one classifier, or of the ensemble, for all cells.

    Attributes:
        classifier: its name, or `ensemble`.
        images: `original`, or the name of the re-staining.
        snapshot: of the study's translator; None for all other re-stainings.
        labels_used: number of the source's labels that it was trained on.
        probabilities: float32[N, C].
    """

    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    probabilities: Probabilities

    @property
    def name(self) -> str:
        """Its name in the option `--by`."""
        return name_of(self.classifier, self.snapshot or self.images, self.labels_used)


def choose(answers: Sequence[Answers], by: str | None) -> Answers:
    """Return the predictions of that name.

    Without a name: the last ones of the ensemble, or else those of the first classifier on the last snapshot.
    """
    if by is None:
        first, last = answers[0].classifier, answers[-1]
        return last if last.classifier == ENSEMBLE else [a for a in answers if a.snapshot and a.classifier == first][-1]
    return next(each for each in answers if each.name == by)


def of_ensemble(fitted: FittedEnsemble, images: UInt8Images, labels_used: int) -> list[Answers]:
    """Return the predictions of an ensemble, first without and then with re-staining and source statistics."""
    return [
        Answers(ENSEMBLE, ORIGINAL, None, labels_used, fitted.predict_target(images)),
        Answers(ENSEMBLE, ENSEMBLE, None, labels_used, fitted.predict(images)),
    ]


def of_one_classifier(ensemble: Answers, one: Classifier, images: UInt8Images) -> list[Answers]:
    """Return the predictions of the classifier into which an ensemble was distilled, and those of both together."""
    alone = Answers(ONE_CLASSIFIER, ORIGINAL, None, 0, one.probabilities(images))
    both = with_one_classifier(ensemble.probabilities, alone.probabilities)
    return [alone, Answers(ENSEMBLE, ONE_CLASSIFIER, None, 0, both)]


def name_of(classifier: str, shown: str, labels_used: int) -> str:
    """Return the name of a classifier's predictions for some images, for `--by`."""
    name = classifier if classifier == shown else f"{classifier} on {shown}"
    if (classifier, shown) == (ENSEMBLE, ONE_CLASSIFIER):
        name = f"{ENSEMBLE} and {ONE_CLASSIFIER}"
    return f"{name}, {labels_used} labels" if labels_used else name
