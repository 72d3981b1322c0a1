"""The models that classify and re-stain the cells of a count: of a run of `hemabridge adapt`, a study, or a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.data.cells import UNKNOWN
from hemabridge.data.new_cells import Listed, crop_px_of, read_new_cells
from hemabridge.data.sampling import evenly_spaced
from hemabridge.domain.site_profile import cell_side_px
from hemabridge.errors import InputError, ModelError
from hemabridge.evaluation.results import StudyResults
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Image
from hemabridge.metrics.classification import confusion_counts
from hemabridge.metrics.prevalence import Counts
from hemabridge.models import Classification, Model, open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import read_site
from hemabridge.recipes.two_sites import MANIFEST, site_of_manifest
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import opened_of

SCALED_CELLS: Final = 200
"""Largest number of cells, evenly spaced, from which the side of the square around a cell is estimated."""


@dataclass(frozen=True)
class Opened:
    """The model of a count.

    Attributes:
        classifier: path of the file that classifies.
        restainer: path of the model that re-stains; None without one.
        reads_restained: whether the classifier sees the re-stained picture rather than the original.
        confusion: labeled cells of the home hospital by true and predicted class; empty if unknown.
        confusion_from: what these cells are.
    """

    classifier: Path
    restainer: Path | None
    reads_restained: bool
    confusion: tuple[tuple[int, ...], ...]
    confusion_from: str


@dataclass(frozen=True, eq=False)
class Reader:
    """A model at the scale of some cells.

    Attributes:
        model: classifies.
        restainer: re-stains; None without one.
        reads_restained: whether the classifier sees the re-stained picture.
    """

    model: Model
    restainer: Model | None
    reads_restained: bool

    @cached_property
    def _standardizer(self) -> Standardizer | None:
        if self.restainer is None:
            return None
        return self.restainer.guarded() or self.restainer.standardizer()

    def restain(self, image: UInt8Image) -> tuple[UInt8Image | None, str]:
        """Return the re-stained picture, None without a model for that, and the guard's verdict, empty without one."""
        used = self._standardizer
        if used is None:
            return None, ""
        if isinstance(used, GuardedStandardizer):
            checked = used.checked(image[None])
            return checked.images[0], checked.verdicts.verdicts[0]
        return used.standardize(image[None])[0], ""

    def classify(self, originals: Sequence[UInt8Image], restained: Sequence[UInt8Image | None]) -> Classification:
        """Classify cells, uint8[H, W, 3] each."""
        if not self.reads_restained:
            return self.model.classify(originals)
        return self.model.classify([image for image in restained if image is not None])


def open_for_count(model: Path, restain: Path | None, home: Path | None, progress: Progress) -> Opened:
    """Find the files of a model, and its confusion at home.

    Args:
        model: a run folder of `hemabridge adapt`, the folder of a study, or a bundle or a classifier that `open_model`
            opens.
        restain: a model that re-stains the cells before they are classified; not for a run of `adapt`.
        home: labeled cells of the home hospital that the classifier was not trained on, one folder for each class.
        progress: told of each cell of `home`.

    Raises:
        ModelError: the model does not classify, or `restain` does not re-stain or is not used by it.
        InputError: a folder cannot be used.
    """
    if (model / ADAPTED_FILE).is_file():
        if restain is not None:
            raise ModelError(f"expected no --restain for a run of `hemabridge adapt`, which has its own: {model}")
        adapted = Adapted.of_folder(model)
        found = Opened(
            adapted.file(model, adapted.classifier),
            adapted.file(model, adapted.normalizer),
            reads_restained=False,
            confusion=adapted.home_confusion,
            confusion_from=f"{adapted.home_scored} cells of {adapted.target}, held out of training",
        )
    elif StudyFolder(model).results.is_file():
        found = _of_study(model, restain)
    else:
        found = _of_model(model, restain)
    classes = open_model(found.classifier).classes
    if found.restainer is not None and open_model(found.restainer).kind == "classifier":
        raise ModelError(f"expected a model that re-stains, got a classifier: {found.restainer}")
    if home is None:
        return found
    counts, cells = _confusion_on(found.classifier, home, classes, progress)
    told = f"{cells} labeled cells in {home.resolve().name}"
    return Opened(found.classifier, found.restainer, found.reads_restained, tuple(map(tuple, counts.tolist())), told)


def _of_model(path: Path, restain: Path | None) -> Opened:
    """Return a classifier; or a bundle, whose classifier sees the original picture if it re-stains too."""
    model = open_model(path)
    if not isinstance(model, BundleModel) or model.restainer is None:
        return Opened(path, restain, restain is not None, (), "")
    if restain is not None:
        raise ModelError(f"expected no --restain for a bundle that has its own: {path}")
    adapted = opened_of(model).adapted
    if adapted is None:
        return Opened(path, path, reads_restained=False, confusion=(), confusion_from="")
    told = f"{adapted.home_scored} cells of {adapted.target}, held out of training"
    return Opened(path, path, reads_restained=False, confusion=adapted.home_confusion, confusion_from=told)


def reader_for(opened: Opened, cells: Sequence[UInt8Image]) -> Reader:
    """Open the models at the scale of these cells, which all have one number of pixels per micrometer."""
    some = [cells[place] for place in evenly_spaced(len(cells), SCALED_CELLS)]
    crop_px = min(cell_side_px(some), min(min(image.shape[:2]) for image in some))
    restainer = None if opened.restainer is None else open_model(opened.restainer, crop_px=crop_px)
    return Reader(open_model(opened.classifier, crop_px=crop_px), restainer, opened.reads_restained)


def _of_study(folder: Path, restain: Path | None) -> Opened:
    """Return the first classifier of a study that has a run folder, with its confusion at its own hospital."""
    results = StudyResults.read(StudyFolder(folder).results)
    layout = StudyFolder(folder)
    names = dict.fromkeys(row.classifier for row in results.rows)
    name = next((name for name in names if layout.classifier(name).is_dir()), None)
    if name is None:
        raise ModelError(
            f"expected a study that fine-tuned a classifier, got none among {', '.join(names)}: {folder}; name the "
            "classifier's file instead"
        )
    home = [
        found
        for found in results.confusions
        if found.classifier == name and found.images == "original" and found.labels_used == 0
    ]
    own = max(home, key=lambda found: sum(row[place] for place, row in enumerate(found.counts)), default=None)
    if restain is None and layout.translator.is_dir():
        restain = folder
    told = "" if own is None else f"{sum(map(sum, own.counts))} test cells of {own.site} in the study"
    counts = () if own is None else own.counts
    return Opened(layout.classifier(name), restain, restain is not None, counts, told)


def _confusion_on(classifier: Path, home: Path, classes: tuple[str, ...], progress: Progress) -> tuple[Counts, int]:
    """Classify labeled cells; return their confusion and number."""
    recipe = (
        site_of_manifest(home)
        if home.is_file() or (home / MANIFEST).is_file()
        else SiteRecipe(site=home.resolve().name, folder=home.resolve())
    )
    manifest = read_site(recipe, progress)
    crop_px = crop_px_of(manifest)
    model = open_model(classifier, crop_px=crop_px)
    crop = model.crop() or CropSpec(crop_px, crop_px)
    cells = read_new_cells(Listed(manifest), classes, crop, progress)
    labeled = cells.labels != UNKNOWN
    if not labeled.any():
        raise InputError(
            f"expected cells of the classes {', '.join(classes)} in {home}, got none; name a folder with a folder of "
            "images for each class"
        )
    found = model.classifier.probabilities(cells.images[labeled]).argmax(axis=1).astype(np.int64)
    return confusion_counts(cells.labels[labeled], found, len(classes)), int(labeled.sum())
