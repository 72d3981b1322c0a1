"""The cells of a new hospital with a study's ensemble that was fitted to them, and which of them to label."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import NewCells
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, subdomains_of
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import MEMBERS_FILE, classifiers_of
from hemabridge.evaluation.label_results import SiteSummary
from hemabridge.imaging.scale import CropPx
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.soft_agreement import soft_agreement
from hemabridge.recipes.sites import read_settled
from hemabridge.selection.cells_to_label import cells_to_label
from hemabridge.storage.files import sha256_of
from hemabridge.training.run_context import RunContext
from hemabridge.workflows.evaluate.finished_study import FinishedStudy, FittedTo
from hemabridge.workflows.label.label_files import CellToLabel

MOST_SUBDOMAINS: Final = 4
"""Largest number of subdomains of a hospital: with 16 cells, four of each."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What an ensemble predicts for all cells: float32[N, C], and what a report says of it."""

    probabilities: Probabilities
    summary: SiteSummary

    @property
    def classes(self) -> NDArray[np.intp]:
        """The predicted class of each cell, intp[N]."""
        return np.asarray(self.probabilities.argmax(axis=1), np.intp)


@dataclass(frozen=True, eq=False)
class Hospital:
    """The cells of another hospital. The ensemble is fitted to them when it is first needed.

    Attributes:
        study: the finished study.
        manifest: of the images.
        cells: those that can be read, at the size of the ensemble.
        crop_px: the square around a cell in the images.
        fabric: device and precision.
    """

    study: FinishedStudy
    manifest: Manifest
    cells: NewCells
    crop_px: CropPx
    fabric: Fabric

    @property
    def inputs(self) -> dict[str, object]:
        """Values that identify study and cells; JSON."""
        return {
            "recipe": self.study.recipe.model_dump(mode="json"),
            "cells": self.cells.hashes,
            "crop_px": self.crop_px,
            "members": sha256_of(self.study.study.ensemble() / MEMBERS_FILE),
        }

    def context(self, folder: Path) -> RunContext:
        """Return where members are trained."""
        return RunContext(folder, self.fabric, self.study.recipe.seed, self.study.progress)

    @cached_property
    def fit(self) -> FittedTo:
        """The study's ensemble, fitted to these cells without labels."""
        return self.study.fit_to(self.cells, self.crop_px, self.context(self.study.folder))

    @cached_property
    def before(self) -> Predicted:
        """The predictions without labels."""
        return predict(self.fit.fitted, self.cells.images)

    @cached_property
    def home(self) -> tuple[str, CellSet]:
        """Labeled cells of the target on which no member was trained, and the name of their part.

        The part `validation`; the part `test` if the study has no such part.
        """
        site, recipe = read_settled(self.study.recipe.target, self.study.folder), self.study.recipe
        part = "validation" if "validation" in site.manifest.column("split") else "test"
        return part, site.cells((part,), self.study.classes, recipe.ensemble_px, self.study.progress)

    @cached_property
    def subdomains(self) -> NDArray[np.intp]:
        """The subdomain of each cell by the color of its empty field, intp[N]."""
        return subdomains_of(fields_of(self.cells.images), MOST_SUBDOMAINS, FEWEST_IMAGES)

    def choose(
        self, ensemble: FittedEnsemble, predicted: Predicted, k: int, known: Sequence[str] = ()
    ) -> list[CellToLabel]:
        """Return the cells that should be labeled, in the order of labeling.

        Args:
            ensemble: its members' features tell how much two cells differ.
            predicted: its predictions.
            k: largest number of cells.
            known: paths of cells that have a label, which are not chosen.
        """
        left = np.flatnonzero(~np.isin(self.cells.paths, list(known)))
        if not len(left):
            return []
        points, shares = features_of(ensemble, self.cells.images[left]), predicted.probabilities[left]
        rng = np.random.default_rng(self.study.recipe.seed)
        chosen = left[cells_to_label(shares, points, self.subdomains[left], k, rng)]
        names, said = self.study.classes, predicted.classes
        return [
            CellToLabel(
                path=self.cells.paths[row],
                predicted=names[said[row]],
                probability=float(predicted.probabilities[row].max()),
                subdomain=int(self.subdomains[row]),
            )
            for row in chosen
        ]


def predict(ensemble: FittedEnsemble, images: UInt8Images) -> Predicted:
    """Return the ensemble's predictions for all cells, uint8[N, S, S, 3]."""
    color, shape = ensemble.group_predictions(images)
    probabilities = ensemble.pooled(color, shape)
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(ensemble.classes))
    summary = SiteSummary(
        agreement=None if shape is None else soft_agreement(shape, color),
        confidence=float(probabilities.max(axis=1).mean(dtype=np.float64)),
        counts=dict(zip(ensemble.classes, counts.tolist(), strict=True)),
    )
    return Predicted(probabilities, summary)


def features_of(ensemble: FittedEnsemble, images: UInt8Images) -> NDArray[np.float32]:
    """Return the members' features of original images, side by side, float32[N, D].

    Those of each member are centered and have a mean squared norm of 1, so that all members count alike. A member that
    gives no features, such as an ONNX file, gives its probabilities.
    """
    members = classifiers_of((*ensemble.color_members, *ensemble.shape_members))
    found = []
    for member in members:
        own = member.features(images) if isinstance(member, NetworkClassifier) else member.probabilities(images)
        own = own - own.mean(axis=0)
        found.append(own / max(float(np.sqrt((own**2).sum(axis=1).mean())), 1e-9))
    return np.concatenate(found, axis=1).astype(np.float32)
