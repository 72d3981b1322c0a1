"""What an ensemble learns from an expert's labels, and whether it is better for it: the numbers and files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.errors import InputError
from hemabridge.evaluation.label_results import FILE, LabeledCell, LabelResults, NextCell
from hemabridge.workflows.label.fine_tuning import (
    FineTuned,
    fine_tune_in_rounds,
    held_out_predictions,
    home_accuracy,
)
from hemabridge.workflows.label.hospital import Hospital, predict
from hemabridge.workflows.label.label_files import NEXT, PREDICTED_CLASSES, TO_LABEL, write_cells, write_predictions


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of an expert.

    Attributes:
        given: by path, as they were given.
        labels: int64[N], -1 for cells without a label of the study's classes.
        strange: rows of cells with a label of no class of the study; nothing is trained on them.
    """

    given: Mapping[str, str]
    labels: NDArray[np.int64]
    strange: NDArray[np.intp]

    @property
    def trained_on(self) -> NDArray[np.intp]:
        """Rows of the cells with a label of the study's classes."""
        return np.flatnonzero(self.labels != UNKNOWN)

    @classmethod
    def of(cls, given: Mapping[str, str], hospital: Hospital) -> "Labels":
        """Find the labeled cells.

        Raises:
            InputError: a path is not one of the cells, or no label is a class of the study.
        """
        rows = {path: row for row, path in enumerate(hospital.cells.paths)}
        missing = [path for path in given if path not in rows]
        if missing:
            reason = hospital.cells.failed.get(missing[0], "there is no such file")
            raise InputError(
                f"expected labels of images in {hospital.manifest.root}, got one of {missing[0]!r}: {reason}; paths "
                f"are relative to that folder, as in {TO_LABEL}"
            )
        classes = hospital.study.classes
        labels = np.full(len(rows), UNKNOWN, np.int64)
        for path, name in given.items():
            labels[rows[path]] = classes.index(name) if name in classes else UNKNOWN
        if (labels == UNKNOWN).all():
            raise InputError(
                f"expected at least one label of the classes {', '.join(classes)}, got only "
                f"{', '.join(sorted(set(given.values())))}; members cannot learn from these"
            )
        strange = [rows[path] for path, name in given.items() if name not in classes]
        return cls(given, labels, np.array(sorted(strange), np.intp))


def write_results(hospital: Hospital, known: Labels, k: int, folds: int, name: str, folder: Path) -> None:
    """Fine-tune on the labels unless that does harm; write results, tables and the ensemble.

    Args:
        hospital: the cells, and the ensemble that was fitted to them.
        known: the labels.
        k: number of cells that should be labeled next.
        folds: of the cross-validation; 0 for none.
        name: of the folder of images, for the report.
        folder: for the files, and for all that is trained; the same call resumes.

    Raises:
        See `hemabridge.workflows.label.fine_tuning.fine_tune_in_rounds`.
    """
    config, fit, (part, home) = hospital.study.check_ensemble(), hospital.fit, hospital.home
    kept = np.setdiff1d(np.arange(len(known.labels)), known.strange)
    source, labels = fit.source.subset(kept), known.labels[kept]
    context = hospital.context(folder)
    held_out = np.full(len(known.labels), UNKNOWN, np.int64)
    if folds:
        held_out[kept] = held_out_predictions(fit.fitted, source, labels, home, config, context, folds)
    before = hospital.before
    rows = known.trained_on
    worse = bool(folds) and (held_out == known.labels)[rows].sum() < (before.classes == known.labels)[rows].sum()
    tuned = (
        _unchanged(hospital, home)
        if worse
        else fine_tune_in_rounds(fit.fitted, source, labels, home, config, context.within("after", "all labels"))
    )
    used = tuned.ensemble is not fit.fitted
    after = predict(tuned.ensemble, hospital.cells.images) if used else before
    names, said = hospital.study.classes, (before.classes, held_out, after.classes)
    following = hospital.choose(tuned.ensemble, after, k, tuple(known.given))
    results = LabelResults(
        study=hospital.study.recipe.name,
        folder=name,
        classes=names,
        cells=tuple(_cells(known, hospital.cells.paths, names, said)),
        folds=folds,
        used=used,
        home_part=part,
        home=tuned.home,
        stopped=tuned.stopped,
        before=before.summary,
        after=after.summary,
        changed=int((before.classes != after.classes).sum()),
        following=tuple(NextCell(cell.path, cell.predicted, cell.probability) for cell in following),
        facts={"seed": context.seed, "cells": len(known.labels), "crop": str(hospital.crop_px)},
    )
    write_cells(following, folder / NEXT)
    then, now = ([names[place] for place in each.classes] for each in (before, after))
    chances = after.probabilities.max(axis=1).tolist()
    write_predictions(hospital.cells.paths, then, now, chances, folder / PREDICTED_CLASSES)
    if used:
        tuned.ensemble.save(folder, folder)
    (folder / FILE).write_text(results.to_json(), encoding="utf-8")


def _unchanged(hospital: Hospital, home: CellSet) -> FineTuned:
    return FineTuned(hospital.fit.fitted, (home_accuracy(hospital.fit.fitted, home),), stopped=False)


def _cells(
    known: Labels, paths: Sequence[str], names: Sequence[str], said: Sequence[NDArray[np.integer]]
) -> list[LabeledCell]:
    found = []
    for row, path in enumerate(paths):
        if path in known.given:
            before, held_out, after = (int(each[row]) for each in said)
            trained = known.labels[row] != UNKNOWN
            other = names[held_out] if held_out != UNKNOWN else None
            found.append(LabeledCell(path, known.given[path], bool(trained), names[before], other, names[after]))
    return found
