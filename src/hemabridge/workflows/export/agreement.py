"""Agreement of a bundle with the models from which it is made, on real images; without it no bundle is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.data.listing import list_images
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import check_shows_cell
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.bundle_check import MAX_GRAY_LEVELS, MAX_PROBABILITY
from hemabridge.models.bundled import BundleModel
from hemabridge.progress import Progress
from hemabridge.sampling import evenly_spaced
from hemabridge.workflows.export.exported_models import Models

COMPARED_IMAGES: Final = 32
"""Number of real images, evenly spaced over a folder."""


@dataclass(frozen=True)
class Agreement:
    """The largest differences between a bundle and the models that it was made from.

    Attributes:
        images: number of images.
        gray_levels: of a pixel of a re-stained image, 0..255; None without a model that re-stains.
        probability: of a class, 0..1; None without a classifier.
    """

    images: int
    gray_levels: int | None
    probability: float | None


def read_images(folder: Path) -> list[UInt8Image]:
    """Read at most `COMPARED_IMAGES` images of a folder, evenly spaced.

    Raises:
        InputError: it is no folder, or has no readable image.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of real images to compare on, got none: {folder}; give --images FOLDER")
    files = list_images(folder).images
    images = []
    for name in [files[place] for place in evenly_spaced(len(files), COMPARED_IMAGES)]:
        try:
            image = read_image(folder / name)
            check_shows_cell(image)
        except ImageError:
            continue  # some unreadable images do not matter
        images.append(image)
    if not images:
        raise InputError(f"expected readable images to compare on, got none in {folder}; give --images FOLDER")
    return images


def compare(models: Models, bundle: BundleModel, images: Sequence[UInt8Image], progress: Progress) -> Agreement:
    """Compare a bundle with the models that it was made from.

    Raises:
        ModelError: a pixel differs by more than `MAX_GRAY_LEVELS`, or a probability by more than `MAX_PROBABILITY`.
    """
    gray_levels = probability = None
    if models.restainer is not None:
        one, other = models.restainer.standardizer(), bundle.standardizer()
        differences = []
        for number, image in enumerate(images, 1):
            first, second = (each.standardize(image[None]).astype(np.int64) for each in (one, other))
            differences.append(int(np.abs(first - second).max()))
            progress("comparing with PyTorch", number, len(images))
        gray_levels = max(differences)
    if models.classifier is not None:
        expected, got = models.classifier.classify(images), bundle.classify(images)
        probability = float(np.abs(expected.probabilities - got.probabilities).max())
    if (gray_levels or 0) > MAX_GRAY_LEVELS or not (probability or 0.0) <= MAX_PROBABILITY:
        raise ModelError(
            f"expected the bundle to differ from the model by at most {MAX_GRAY_LEVELS} gray level and "
            f"{MAX_PROBABILITY} of a probability, got {gray_levels} and {probability} on {len(images)} images; nothing "
            "was written: export another model"
        )
    return Agreement(len(images), gray_levels, probability)
