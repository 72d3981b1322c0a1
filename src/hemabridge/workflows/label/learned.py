"""What the labels of an expert change: the corrected predictions, the classifier that learns, the numbers and files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.ensemble.distilled import distill
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.label_correction import correct_by_labels
from hemabridge.errors import InputError
from hemabridge.evaluation.label_results import (
    FILE,
    ClassifierSummary,
    LabeledCell,
    LabelResults,
    NextCell,
    SiteSummary,
)
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.models import open_model
from hemabridge.storage.files import copy_file
from hemabridge.training.run_context import RunContext
from hemabridge.workflows.label.hospital import Hospital
from hemabridge.workflows.label.label_files import NEXT, PREDICTED_CLASSES, TO_LABEL, write_cells, write_predictions

MOST_LOST_AT_HOME: Final = 0.01
"""Largest loss of balanced accuracy on the run's own cells, 0..1: one point, within which labels may do no harm."""
CLASSIFIER: Final = "classifier.safetensors"
"""The classifier that learned the labels."""
_TRAINING: Final = "training"


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of an expert.

    Attributes:
        given: by path, as they were given.
        labels: int64[N], -1 for cells without a label of the run's classes.
        strange: rows of cells with a label of no class of the run; nothing learns from them.
    """

    given: Mapping[str, str]
    labels: NDArray[np.int64]
    strange: NDArray[np.intp]

    @classmethod
    def of(cls, given: Mapping[str, str], hospital: Hospital) -> "Labels":
        """Find the labeled cells.

        Raises:
            InputError: a path is not one of the cells, or no label is a class of the run.
        """
        rows = {path: row for row, path in enumerate(hospital.cells.paths)}
        missing = [path for path in given if path not in rows]
        if missing:
            reason = hospital.cells.failed.get(missing[0], "there is no such file")
            raise InputError(
                f"expected labels of images in {hospital.manifest.root}, got one of {missing[0]!r}: {reason}; paths "
                f"are relative to that folder, as in {TO_LABEL}"
            )
        classes = hospital.run.classes
        labels = np.full(len(rows), UNKNOWN, np.int64)
        for path, name in given.items():
            labels[rows[path]] = classes.index(name) if name in classes else UNKNOWN
        if (labels == UNKNOWN).all():
            raise InputError(
                f"expected at least one label of the classes {', '.join(classes)}, got only "
                f"{', '.join(sorted(set(given.values())))}; classifiers cannot learn from these"
            )
        strange = [rows[path] for path, name in given.items() if name not in classes]
        return cls(given, labels, np.array(sorted(strange), np.intp))


def write_results(hospital: Hospital, known: Labels, k: int, name: str, folder: Path) -> None:
    """Correct the predictions by the labels unless that does harm, train a classifier; write results and tables.

    Args:
        hospital: the cells, and what is predicted without labels.
        known: the labels.
        k: number of cells that should be labeled next.
        name: of the folder of images, for the report.
        folder: for the files, and for all that is trained; the same call resumes.

    Raises:
        Interrupted: a signal stopped it.
    """
    before = hospital.before
    corrected = correct_by_labels(before.probabilities, before.features, known.labels)
    rows = np.flatnonzero(known.labels != UNKNOWN)
    then = before.probabilities.argmax(axis=1)
    right = [(classes[rows] == known.labels[rows]).sum() for classes in (then, corrected.held_out)]
    used = bool(right[1] >= right[0])
    after = corrected.probabilities if used else before.probabilities
    classifier = _train(hospital, known, after, folder) if used else None
    following = hospital.choose(after, k, tuple(known.given))
    names = hospital.run.classes
    results = LabelResults(
        run=hospital.run.name,
        folder=name,
        classes=names,
        cells=tuple(_cells(known, hospital.cells.paths, names, (then, corrected.held_out, after.argmax(axis=1)))),
        used=used,
        classifier=classifier,
        agreement=before.agreement,
        before=_summary(before.probabilities, names),
        after=_summary(after, names),
        changed=int((then != after.argmax(axis=1)).sum()),
        following=tuple(NextCell(cell.path, cell.predicted, cell.probability) for cell in following),
        facts={"seed": hospital.run.seed, "cells": len(known.labels), "crop": str(hospital.crop_px)},
    )
    write_cells(following, folder / NEXT)
    shown = [[names[place] for place in each.argmax(axis=1)] for each in (before.probabilities, after)]
    write_predictions(hospital.cells.paths, shown[0], shown[1], after.max(axis=1).tolist(), folder / PREDICTED_CLASSES)
    (folder / FILE).write_text(results.to_json(), encoding="utf-8")


def _train(hospital: Hospital, known: Labels, after: Probabilities, folder: Path) -> ClassifierSummary | None:
    """Train one classifier on the labels and, elsewhere, on what was predicted without them.

    Corrected predictions as its targets were not better, and cost more at home. None if no member was trained here.
    The file is written only if the classifier is as good at home as the one that is in use, or, without one, as the
    member with which the training begins.
    """
    members = hospital.run.members
    if not any(isinstance(member.classifier, SnapshotClassifier) for member in members.color):
        return None
    kept = np.setdiff1d(np.arange(len(known.labels)), known.strange)
    context = RunContext(folder, hospital.fabric, hospital.run.seed, hospital.run.progress)
    snapshot = distill(
        FittedEnsemble(members.color, members.shape, {}),
        hospital.source.subset(kept),
        hospital.before.probabilities[kept],
        hospital.run.distillation,
        context.within(_TRAINING, "the classifier that learns"),
        known.labels[kept],
    )
    part, home = hospital.run.home
    start = next(each.classifier for each in members.color if isinstance(each.classifier, SnapshotClassifier))
    trained = open_model(snapshot).classifier
    accuracies = [_accuracy(each, home) for each in (hospital.run.before or start, trained)]
    is_kept = accuracies[1] >= accuracies[0] - MOST_LOST_AT_HOME
    if is_kept:
        copy_file(snapshot, folder / CLASSIFIER)
    there = trained.probabilities(hospital.cells.images).argmax(axis=1)
    same = float((there == after.argmax(axis=1)).mean())
    return ClassifierSummary(part, len(home), accuracies[0], accuracies[1], same, is_kept)


def _accuracy(classifier: Classifier, home: CellSet) -> float:
    predicted = classifier.probabilities(home.images).argmax(axis=1).astype(np.int64)
    return balanced_accuracy(home.labels, predicted, len(home.classes))


def _summary(probabilities: Probabilities, names: Sequence[str]) -> SiteSummary:
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(names))
    return SiteSummary(
        confidence=float(probabilities.max(axis=1).mean(dtype=np.float64)),
        counts=dict(zip(names, counts.tolist(), strict=True)),
    )


def _cells(
    known: Labels, paths: Sequence[str], names: Sequence[str], predicted: Sequence[NDArray[np.integer]]
) -> list[LabeledCell]:
    found = []
    for row, path in enumerate(paths):
        if path in known.given:
            before, held_out, after = (int(each[row]) for each in predicted)
            used = known.labels[row] != UNKNOWN
            found.append(
                LabeledCell(
                    path=path,
                    label=known.given[path],
                    is_used=bool(used),
                    before=names[before],
                    held_out=names[held_out] if used else None,
                    after=names[after],
                )
            )
    return found
