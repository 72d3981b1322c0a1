"""The models that classify and re-stain the cells of a count: of a run of `hemabridge adapt`, a study, or a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hemabridge.data.cells import UNKNOWN
from hemabridge.data.new_cells import Listed, crop_of, read_new_cells
from hemabridge.errors import InputError, ModelError
from hemabridge.evaluation.results import StudyResults
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.metrics.classification import confusion_counts
from hemabridge.metrics.prevalence import Counts
from hemabridge.models import Classification, Model, open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.models.restaining import Standardizers
from hemabridge.models.study_folder import StudyFolder
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import read_site
from hemabridge.recipes.two_sites import MANIFEST, site_of_manifest
from hemabridge.workflows.adapt.adapted import Adapted, is_adapt_run
from hemabridge.workflows.adapt.apply import Opened as Pair
from hemabridge.workflows.adapt.apply import opened_for, opened_of


@dataclass(frozen=True, eq=False)
class Opened:
    """The models of a count.

    Attributes:
        classifier: classifies.
        restainer: re-stains; None without one.
        reads_restained: whether the classifier sees the re-stained picture rather than the original.
        confusion: labeled cells of the home hospital by true and predicted class; empty if unknown.
        confusion_from: what these cells are.
        unknown_below: see `Adapted.unknown_below`; None without a run of `hemabridge adapt`.
        cautions: see `Adapted.cautions`; empty without a run of `hemabridge adapt`.
    """

    classifier: Model
    restainer: Model | None
    reads_restained: bool
    confusion: tuple[tuple[int, ...], ...] = ()
    confusion_from: str = ""
    unknown_below: float | None = None
    cautions: tuple[str, ...] = ()

    @cached_property
    def _standardizers(self) -> Standardizers | None:
        return None if self.restainer is None else Standardizers(self.restainer)

    def restain(self, image: UInt8Image, scale: FoundScale) -> tuple[UInt8Image | None, str]:
        """Return the re-stained picture, None without a model for that, and the guard's verdict, empty without one."""
        if self._standardizers is None:
            return None, ""
        used = self._standardizers.at(scale)
        if isinstance(used, GuardedStandardizer):
            checked = used.checked(image[None])
            return checked.images[0], checked.verdicts.verdicts[0]
        return used.standardize(image[None])[0], ""

    def classify(
        self,
        originals: Sequence[UInt8Image],
        restained: Sequence[UInt8Image | None],
        scales: Sequence[FoundScale],
    ) -> Classification:
        """Classify cells, uint8[H, W, 3] each, of known scales."""
        if not self.reads_restained:
            return self.classifier.classify(originals, scales)
        return self.classifier.classify([image for image in restained if image is not None], scales)


def open_for_count(model: Path, restain: Path | None, home: Path | None, progress: Progress) -> Opened:
    """Open the models of a count, and find the confusion of the classifier at home.

    Args:
        model: a run folder of `hemabridge adapt`, the folder of a study, or a bundle or a classifier that `open_model`
            opens.
        restain: a model that re-stains the cells before they are classified; not for a run of `adapt`.
        home: labeled cells of the home hospital that the classifier was not trained on, one folder for each class.
        progress: told of each cell of `home`.

    Raises:
        ModelError: the model does not classify, or `restain` does not re-stain or is not used by it.
        InputError: a folder cannot be used, or a run of `hemabridge adapt` is not finished.
    """
    found = _opened(model, restain)
    _ = found.classifier.classes  # a model that does not classify is refused before a field is searched
    if found.restainer is not None and found.restainer.kind == "classifier":
        raise ModelError(f"expected a model that re-stains, got a classifier: {found.restainer.path}")
    if home is None:
        return found
    counts, cells = _confusion_on(found.classifier, home, progress)
    told = f"{cells} labeled cells in {home.resolve().name}"
    return replace(found, confusion=tuple(map(tuple, counts.tolist())), confusion_from=told)


def _opened(path: Path, restain: Path | None) -> Opened:
    if is_adapt_run(path):
        return _with_own_restainer(opened_for(path), path, restain)
    if StudyFolder(path).results.is_file():
        return _of_study(path, restain)
    model = open_model(path)
    if isinstance(model, BundleModel) and model.restainer is not None:
        return _with_own_restainer(opened_of(model), path, restain)
    return _with_restainer(model, restain)


def _with_restainer(classifier: Model, restain: Path | None) -> Opened:
    """Return a classifier that sees the re-stained pictures, if there is a model that re-stains."""
    restainer = None if restain is None else open_model(restain).restaining
    return Opened(classifier.classifying, restainer, reads_restained=restainer is not None)


def _with_own_restainer(found: Pair, path: Path, restain: Path | None) -> Opened:
    """Return the models of a run of `hemabridge adapt` or of a bundle, whose classifier sees the originals."""
    if restain is not None:
        raise ModelError(f"expected no --restain for a run or a bundle that has its own: {path}")
    return replace(for_originals(found.classifier, found.adapted), restainer=found.restainer)


def for_originals(classifier: Model, adapted: Adapted | None) -> Opened:
    """Return what counts by a classifier that sees the originals, with the confusion that `hemabridge adapt` found.

    A square in pixels that was stated holds for other images than the crops of a count, whose scales are known.
    """
    if classifier.crop_um is None:
        classifier = replace(classifier, crop_um=CELL_CROP_UM)
    if adapted is None:
        return Opened(classifier, None, reads_restained=False)
    told = f"{adapted.home_scored} cells of {adapted.target}, held out of training"
    confusion = adapted.home_confusion
    return Opened(
        classifier,
        None,
        reads_restained=False,
        confusion=confusion,
        confusion_from=told,
        unknown_below=adapted.unknown_below,
        cautions=adapted.cautions,
    )


def _of_study(folder: Path, restain: Path | None) -> Opened:
    """Return the first classifier of a study that has a run folder, with its confusion at its own hospital."""
    layout = StudyFolder(folder)
    results = StudyResults.read(layout.results)
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
    opened = _with_restainer(open_model(layout.classifier(name)), restain)
    if own is None:
        return opened
    told = f"{sum(map(sum, own.counts))} test cells of {own.site} in the study"
    return replace(opened, confusion=own.counts, confusion_from=told)


def _confusion_on(classifier: Model, home: Path, progress: Progress) -> tuple[Counts, int]:
    """Classify labeled cells; return their confusion and number."""
    recipe = (
        site_of_manifest(home)
        if home.is_file() or (home / MANIFEST).is_file()
        else SiteRecipe(site=home.resolve().name, folder=home.resolve())
    )
    manifest = read_site(recipe, progress)
    crop, classes = crop_of(manifest), classifier.classes
    assert crop.crop_px != "whole"  # it is stated in pixels, or estimated
    known = replace(classifier, crop_px=crop.crop_px).crop()
    size_px = crop.crop_px if known is None else known.size_px
    cells = read_new_cells(Listed(manifest), classes, crop, size_px, progress)
    labeled = cells.labels != UNKNOWN
    if not labeled.any():
        raise InputError(
            f"expected cells of the classes {', '.join(classes)} in {home}, got none; name a folder with a folder of "
            "images for each class"
        )
    found = classifier.classifier.probabilities(cells.images[labeled]).argmax(axis=1).astype(np.int64)
    return confusion_counts(cells.labels[labeled], found, len(classes)), int(labeled.sum())
