"""`hemabridge guard`: learns the morphology limits of a model, and writes them beside its file."""

from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.data.listing import list_images, not_a_folder
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.guard.thresholds import Thresholds, learn_normalizer_thresholds, learn_thresholds
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import CropSpec, scale_matched
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import Model, open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.models.guard_file import Guard, guard_path
from hemabridge.models.restaining import NormalizerModel
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.progress import Progress, silent
from hemabridge.sampling import evenly_spaced

LEARNED_FROM: Final = 200
"""Number of the target's cells from which limits are learned; each takes a fraction of a second."""

NORMALIZER_PX: Final = 96
"""Side to which whole pictures are shrunk to learn the limits of a normalizer, which has no scale of its own."""

FALLBACK: Final = "white-point"
"""Default fallback for refused cells: the safest normalizer, which needs no source images to be fitted."""


def learn_guard(
    model: Path,
    target: Path,
    *,
    snapshot: str | None = None,
    crop_px: int | None = None,
    fallback: str = FALLBACK,
    progress: Progress = silent,
) -> tuple[Path, Guard]:
    """Learn the thresholds of a model from images of the target, and write them beside it.

    Args:
        model: a snapshot; a run folder, whose selected or else last snapshot is used; or the JSON file of a normalizer.
        target: a folder of target images, preferably of cells that the model was not trained on.
        snapshot: the name of a snapshot of the run folder.
        crop_px: square around a cell in these images; as in training if not given.
        fallback: the normalizer for refused cells, a key of `NORMALIZERS`, fitted on these images alone.
        progress: called after each image.

    Returns:
        The file that was written, and its content.

    Raises:
        InputError: there are too few readable images.
        ModelError: there is no model, or it is a bundle.
    """
    opened = open_model(model, snapshot=snapshot, crop_px=crop_px)
    if isinstance(opened, BundleModel):
        raise ModelError(
            f"expected a model that can get limits, got a bundle, which cannot be changed: {model}; learn them beside "
            "the model that it was made from, and export that again"
        )
    cells = _read(target, opened.crop("target"), progress)
    guard = guard_of(opened.sha256, _thresholds(opened, cells), cells, fallback)
    guard.write(guard_path(opened.path))
    return guard_path(opened.path), guard


def _thresholds(model: Model, cells: UInt8Images) -> Thresholds:
    method = _method(model)
    if method is not None:
        return learn_normalizer_thresholds(method, cells)
    return learn_thresholds(model.cell_standardizer(), cells)


def guard_of(sha256: str, thresholds: Thresholds, target: UInt8Images, fallback: str = FALLBACK) -> Guard:
    """Return the guard of a model's file, with a fallback that is fitted on the target alone.

    Args:
        sha256: of the file.
        thresholds: its limits.
        target: cells of the target, uint8[N, H, W, 3].
        fallback: a key of `NORMALIZERS`.

    Raises:
        InputError: there is no such normalizer.
    """
    fitted = fit_on_cells(fallback, target, target)
    return Guard(model=sha256, thresholds=thresholds, fallback=fitted.to_json())


def _method(model: Model) -> str | None:
    """Return the name of a normalizer in the catalog; None for other models."""
    if not isinstance(model, NormalizerModel):
        return None
    kind = type(model.header)
    return next((name for name, entry in NORMALIZERS.items() if entry.kind is kind), None)


def _read(folder: Path, crop: CropSpec | None, progress: Progress) -> UInt8Images:
    """Read up to `LEARNED_FROM` cells of a folder, evenly spaced over its files."""
    if not folder.is_dir():
        raise InputError(f"expected a folder of target images, got {not_a_folder(folder)}")
    files = list_images(folder).images
    some = [files[place] for place in evenly_spaced(len(files), LEARNED_FROM)]
    check = FieldCheck.of([folder / name for name in some])
    if warning := check.warning(str(folder)):
        progress(warning, 0, 0)
    cells = []
    for number, name in enumerate(some, 1):
        try:
            image = read_image(folder / name)
        except ImageError:
            continue  # some unreadable images do not matter
        whole = scale_matched(image, min(image.shape[:2]), NORMALIZER_PX) if crop is None else crop.cut(image)
        cells.append(whole)
        progress("reading the target", number, len(some))
    if not cells:
        raise InputError(f"expected a folder with readable images of the target, got none in {folder}")
    return np.stack(cells)
