"""`hemabridge guard`: learn from which change of morphology on a model's output is not kept, and write it beside it."""

from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.data.listing import list_images
from hemabridge.data.sampling import evenly_spaced
from hemabridge.errors import ImageError, InputError
from hemabridge.guard.thresholds import Thresholds, learn_normalizer_thresholds, learn_thresholds
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import CropSpec, scale_matched
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models import Model, open_model
from hemabridge.models.guard_file import Guard, guard_path
from hemabridge.models.restaining import NormalizerModel
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.progress import Progress, silent

LEARNED_FROM: Final = 200
"""So many cells of the target are enough for limits; each takes part of a second."""

NORMALIZER_PX: Final = 96
"""A normalizer knows no scale: its limits are learned from whole pictures, shrunk to this side."""

FALLBACK: Final = "white-point"
"""Re-stains a refused cell if nothing else is asked for: the safest, and it needs no source images to be fitted."""


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
        model: a snapshot, or a run folder, of which the selected snapshot is taken, else the last one; or the JSON file
            of a normalizer.
        target: a folder of target images; best of cells that the model was not trained on.
        snapshot: the name of a snapshot of the run folder.
        crop_px: square around a cell in these images; as in training if not given.
        fallback: the normalizer for refused cells, a key of `NORMALIZERS`, fitted on these images alone.
        progress: told of each image.

    Returns:
        The file that was written, and what it holds.

    Raises:
        InputError: too few readable images.
        ModelError: no model is there.
    """
    opened = open_model(model, snapshot=snapshot, crop_px=crop_px)
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
    """Return the catalog's name of a normalizer; None of what is not fitted so."""
    if not isinstance(model, NormalizerModel):
        return None
    kind = type(model.header)
    return next((name for name, entry in NORMALIZERS.items() if entry.kind is kind), None)


def _read(folder: Path, crop: CropSpec | None, progress: Progress) -> UInt8Images:
    """Read up to `LEARNED_FROM` cells of a folder, spread over all of it."""
    if not folder.is_dir():
        raise InputError(
            f"expected a folder of target images, got {'a file' if folder.exists() else 'nothing'}: {folder}"
        )
    files = list_images(folder).images
    some = [files[place] for place in evenly_spaced(len(files), LEARNED_FROM)]
    cells = []
    for number, name in enumerate(some, 1):
        try:
            image = read_image(folder / name)
        except ImageError:
            continue  # the limits need some cells, not all
        whole = scale_matched(image, min(image.shape[:2]), NORMALIZER_PX) if crop is None else crop.cut(image)
        cells.append(whole)
        progress("reading the target", number, len(some))
    if not cells:
        raise InputError(f"expected a folder with readable images of the target, got none in {folder}")
    return np.stack(cells)
