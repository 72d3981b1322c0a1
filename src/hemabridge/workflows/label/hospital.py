"""The cells of another hospital, what is predicted for them without labels, and which of them to label."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import NewCells
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, subdomains_of
from hemabridge.errors import RunError
from hemabridge.imaging.scale import CropPx
from hemabridge.selection.cells_to_label import cells_to_label
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.stages import Stages
from hemabridge.workflows.label.finished_run import FinishedRun
from hemabridge.workflows.label.label_files import CellToLabel
from hemabridge.workflows.label.prediction import Prediction

MOST_SUBDOMAINS: Final = 4
"""Largest number of subdomains of a hospital: with 16 cells, four of each."""
PREDICTED: Final = ".predicted"
"""Folder of what is predicted without labels."""
_FIRST: Final = (
    "first all classifiers predict the classes of the {count} cells, to choose those that teach most; how long is left "
    "is said below, and after that the address of the page"
)
_PROBABILITIES, _FEATURES, _AGREEMENT = "probabilities.npy", "features.npy", "agreement.json"
_KIND: Final = FileKind("a prediction", RunError, f"remove the folder {PREDICTED}, and run the same command again")


@dataclass(frozen=True, eq=False)
class Hospital:
    """The cells of another hospital, and the run whose classifiers predict their classes.

    Attributes:
        run: the finished run.
        manifest: of the images.
        cells: those that can be read, at the size of the run's cells.
        fabric: device and precision.
        out: folder of the results; the prediction without labels is kept there.
    """

    run: FinishedRun
    manifest: Manifest
    cells: NewCells
    fabric: Fabric
    out: Path

    @property
    def inputs(self) -> dict[str, object]:
        """Values that identify run and cells; JSON."""
        return {**self.run.inputs, "cells": list(self.cells.hashes), "crop_px": self.crop_px}

    @property
    def crop_px(self) -> CropPx:
        """The square around a cell in images that state no scale."""
        return self.cells.crop_px

    @cached_property
    def source(self) -> CellSet:
        """The cells without any label."""
        return self.cells.unlabeled(self.run.classes)

    @cached_property
    def before(self) -> Prediction:
        """What is predicted without labels; it is worked out once, and kept."""

        def work(folder: Path) -> None:
            self.run.progress(_FIRST.format(count=len(self.cells.paths)), 0, 0)
            found = self.run.predict(self.source, self.fabric)
            np.save(folder / _PROBABILITIES, found.probabilities, allow_pickle=False)
            np.save(folder / _FEATURES, found.features, allow_pickle=False)
            (folder / _AGREEMENT).write_text(json.dumps(found.agreement), encoding="utf-8")

        folder = Stages(self.out).run(PREDICTED, self.inputs, work)
        agreement = _KIND.read_as(folder / _AGREEMENT, TypeAdapter(float | None))
        return Prediction(_KIND.read_array(folder / _PROBABILITIES), agreement, _KIND.read_array(folder / _FEATURES))

    @cached_property
    def subdomains(self) -> NDArray[np.intp]:
        """The subdomain of each cell by the color of its empty field, intp[N]."""
        return subdomains_of(fields_of(self.cells.images), MOST_SUBDOMAINS, FEWEST_IMAGES)

    def choose(self, probabilities: Probabilities, k: int, known: Sequence[str] = ()) -> list[CellToLabel]:
        """Return the cells that should be labeled, in the order of labeling.

        Args:
            probabilities: what is predicted for all cells, float32[N, C].
            k: largest number of cells.
            known: paths of cells that have a label, which are not chosen.
        """
        left = np.flatnonzero(~np.isin(self.cells.paths, list(known)))
        if not len(left):
            return []
        rng = np.random.default_rng(self.run.seed)
        points = self.before.features[left]
        chosen = left[cells_to_label(probabilities[left], points, self.subdomains[left], k, rng)]
        predicted = probabilities.argmax(axis=1)
        return [
            CellToLabel(
                path=self.cells.paths[row],
                predicted=self.run.classes[predicted[row]],
                probability=float(probabilities[row].max()),
                subdomain=int(self.subdomains[row]),
            )
            for row in chosen
        ]
