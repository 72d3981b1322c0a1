"""Whether a classifier fails on images whose folders say their classes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from hemabridge.class_names import spelling_key
from hemabridge.classifiers.config import ExternalConfig
from hemabridge.data.layouts import find_layout, with_levels
from hemabridge.errors import ManifestError
from hemabridge.evaluation.home_check import ALMOST_PERFECT, check_at_home, check_predictions, spread_over_classes
from hemabridge.evaluation.home_failure import HomeFailure, beyond_chance
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import crop_center, resize_square
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.models.classifying import ClassifierModel
from hemabridge.models.model import Model
from hemabridge.models.site_answer import SiteAnswer

FEWEST: Final = 8
"""With fewer labeled images nothing is said."""


def failure_on(model: Model, folder: Path, predicted: Mapping[str, str], site: SiteAnswer | None) -> HomeFailure | None:
    """Return that a classifier fails on a folder, and what would explain it; None if it does not or nobody can know.

    Args:
        model: a classifier.
        folder: of the images.
        predicted: the class that was predicted for each image, by its path relative to the folder.
        site: what the model says of the images; they are of its own hospital where it knows them.
    """
    labels = _labels_of(folder, tuple(predicted), model.classes)
    if len(labels) < FEWEST or len(set(labels.values())) < 2 or not isinstance(model, ClassifierModel):
        return None
    paths = tuple(labels)
    truth = np.array([labels[path] for path in paths], np.int64)
    said = np.array([model.classes.index(predicted[path]) for path in paths], np.int64)
    known = site is not None and site.answer == "in-distribution"
    if not isinstance(model.header, ExternalConfig):
        found = check_predictions(model.path.stem, folder.name, truth, said, len(model.classes))
        return None if found is None else replace(found, known_home=known)
    rate = balanced_accuracy(truth, said, len(model.classes))
    if beyond_chance(rate, 1 / len(model.classes)) > ALMOST_PERFECT:
        return None
    some = spread_over_classes(truth)
    cells = np.stack([_cell(model, read_image(folder / paths[place])) for place in some])
    found = check_at_home(model.path.stem, folder.name, model.classifier, cells, truth[some], model.classes)
    return None if found is None else replace(found, known_home=known)


def _labels_of(folder: Path, paths: tuple[str, ...], classes: tuple[str, ...]) -> dict[str, int]:
    """Return the place among the classes of each image whose folder names one; nothing where that cannot be told."""
    try:
        layout = with_levels(find_layout(folder), paths, folder)
    except ManifestError:
        return {}
    keys = [spelling_key(name) for name in classes]
    named = {path: spelling_key(layout.place(PurePosixPath(path)).class_name) for path in paths}
    return {path: keys.index(key) for path, key in named.items() if keys.count(key) == 1}


def _cell(model: ClassifierModel, image: UInt8Image) -> UInt8Image:
    crop = model.crop()
    cell = crop_center(image, min(image.shape[:2])) if crop is None else crop.cut(image)
    assert isinstance(model.header, ExternalConfig)  # whoever calls has asked
    return resize_square(cell, model.header.preprocessing.size_px)
