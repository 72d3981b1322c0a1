"""What is measured of a fit of `hemabridge adapt`: the one classifier, the ensemble, and which normalizer is best."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from pydantic import TypeAdapter

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.fitted import ORIGINAL, FittedEnsemble, GroupPredictions
from hemabridge.ensemble.members import classifiers_of
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.errors import ManifestError, RunError
from hemabridge.metrics.classification import balanced_accuracy, confusion_counts
from hemabridge.metrics.soft_agreement import soft_agreement
from hemabridge.progress import Progress, counted
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.workflows.adapt.certainty import quantiles_of, unknown_limit

SUMMARY: Final = "summary.json"
_KIND: Final = FileKind("the measures of a fit", RunError, "remove its folder, and run the same command again")


@dataclass(frozen=True)
class Measures:
    """The measures of a fit, and the re-stainer that they choose; see `Adapted`."""

    home_accuracy: float
    same_class: float
    agreement: float
    home_agreement: float
    prevalence: tuple[float, ...]
    restainer: str
    left_out: dict[str, str]
    unknown_below: float | None
    certainties: tuple[float, ...]
    home_confusion: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            RunError: the file is missing or damaged.
        """
        return _KIND.read_as(folder / SUMMARY, TypeAdapter(cls))

    def write(self, folder: Path) -> None:
        """Write them into the folder of a fit."""
        with atomic_write(folder / SUMMARY) as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")


def measured(
    fitted: FittedEnsemble,
    classifier: Classifier,
    source: CellSet,
    home: CellSet,
    predictions: GroupPredictions,
    progress: Progress,
) -> Measures:
    """Measure the single classifier and the ensemble, whose predictions for the source are given, and choose."""
    passed = counted(progress, "measuring, passes", 2 + fitted.passes)
    at_home = classifier.probabilities(home.images)
    passed()
    there = classifier.probabilities(source.images)
    passed()
    prediction = fitted.pooled(*predictions)
    predicted = at_home.argmax(axis=1).astype(np.int64)
    confusion = confusion_counts(home.labels, predicted, len(home.classes))
    return Measures(
        home_accuracy=balanced_accuracy(home.labels, predicted, len(home.classes)),
        home_confusion=tuple(map(tuple, confusion.tolist())),
        same_class=float((there.argmax(axis=1) == prediction.argmax(axis=1)).mean()),
        agreement=_agreement(*predictions),
        home_agreement=_agreement(*fitted.predict_with({ORIGINAL: home.images}, None, passed=passed)),
        prevalence=tuple((np.bincount(there.argmax(axis=1), minlength=there.shape[1]) / len(there)).tolist()),
        restainer=_best_restainer(fitted, source, prediction, passed),
        left_out=dict(fitted.left_out),
        unknown_below=unknown_limit(at_home.max(axis=1), there.max(axis=1)),
        certainties=quantiles_of(there.max(axis=1)),
    )


def _agreement(color: Probabilities, shape: Probabilities | None) -> float:
    return 1.0 if shape is None else soft_agreement(shape, color)


def _best_restainer(
    fitted: FittedEnsemble, source: CellSet, prediction: Probabilities, passed: Callable[[], None]
) -> str:
    """Return the normalizer on whose images the color members agree best with the ensemble (soft agreement).

    The color members use the batch norm statistics of the target, so they agree best on images that resemble the
    target's.
    """
    members = classifiers_of(fitted.color_members)
    agreement = {}
    for name, standardizer in fitted.restainings.items():
        restained = standardizer.standardize(source.images)
        agreement[name] = soft_agreement(prediction, mean_prediction(members, restained, mirrored=False))
        passed()
    if not agreement:
        raise ManifestError(
            "expected a re-stainer that makes plausible colors, got none: "
            f"{'; '.join(f'{name}: {fault}' for name, fault in fitted.left_out.items())}; look at both folders' images"
        )
    return max(agreement, key=agreement.__getitem__)
