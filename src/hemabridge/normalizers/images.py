"""Fitting of a normalizer on images in memory, with the same crops as `hemabridge fit` takes from files."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from hemabridge.data.cells import SCALE_SAMPLE
from hemabridge.errors import ImageError
from hemabridge.fields.cell_crop import CellSize, propose_crop_px
from hemabridge.imaging.any_image import check_each
from hemabridge.imaging.scale import CropPx, CropSpec
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.catalog import check_method, fit_on_cells
from hemabridge.normalizers.normalizer import CellScale, Normalizer
from hemabridge.sampling import evenly_spaced

CELL_PX: Final = 96
"""Side of the cells that are measured, as in studies; both sites then show as much empty field around a cell."""


def fit_normalizer(
    method: str,
    source: UInt8Images | Iterable[UInt8Image],
    target: UInt8Images | Iterable[UInt8Image],
    *,
    source_crop_px: CropPx | None = None,
    target_crop_px: CropPx | None = None,
) -> Normalizer:
    """Fit a normalizer on images of two sites, as `hemabridge fit` does on files.

    Cells are cut at the same scale from the images of both sites, so that both show as much empty field around a cell.

    Args:
        method: a name that `hemabridge catalog` lists, such as `optical-density`, `macenko` or `linear-ot`.
        source: images of the site to re-stain, each uint8[H, W, 3] RGB, 0..255, one cell in the center; sizes may
            differ. An array uint8[N, H, W, 3], or anything that yields images.
        target: the same for the site whose colors are wanted.
        source_crop_px: side of the central square that shows a cell, in pixels of the source's images; `whole` for the
            whole image. Estimated from red cells and nuclei of up to `SCALE_SAMPLE` images if not given.
        target_crop_px: the same for the target.

    Returns:
        The fitted normalizer. It re-stains images of any size by measurements of the square around the cell in their
        center: `normalizer.standardize(images)`, or `normalizer(image)` for one image. `normalizer.to_json()` is the
        content of a file that `open_model` opens.

    Raises:
        InputError: there is no such method, or it would give the cells colors that they do not have at the target.
        ImageError: an image has another type or shape, there is none, or none shows a nucleus.

    Example:
        >>> import hemabridge as hb
        >>> from hemabridge.data.simulate import HOSPITALS, simulate_cells
        >>> source, _ = simulate_cells(["neutrophil", "lymphocyte"], 3, HOSPITALS["yellow-field"], 1, 64)
        >>> target, _ = simulate_cells(["neutrophil", "lymphocyte"], 3, HOSPITALS["clinic-like"], 2, 64)
        >>> normalizer = hb.fit_normalizer("linear-ot", source, target)
        >>> normalizer.standardize(source).shape
        (6, 64, 64, 3)
    """
    check_method(method)
    (own, own_px), (wanted, wanted_px) = (
        cut_cells(images, crop_px, what)
        for images, crop_px, what in (
            (source, source_crop_px, "source images"),
            (target, target_crop_px, "target images"),
        )
    )
    cells = CellScale(source_crop_px=own_px, target_crop_px=wanted_px, size_px=CELL_PX)
    return fit_on_cells(method, own, wanted, cells).checked(method)


def cut_cells(
    images: UInt8Images | Iterable[UInt8Image], crop_px: CropPx | None, what: str
) -> tuple[UInt8Images, CropPx]:
    """Cut the central cell from each image, at one scale.

    Args:
        images: each uint8[H, W, 3] RGB; sizes may differ.
        crop_px: side of the central square in the images; `whole` for the whole image; estimated if None.
        what: name of the images in errors.

    Returns:
        uint8[N, `CELL_PX`, `CELL_PX`, 3], and the side of the square.

    Raises:
        ImageError: an image has another type or shape, there is none, or none shows a nucleus.
    """
    found = check_each(images, what)
    if not found:
        raise ImageError(f"{what}: expected at least one image to fit a normalizer on, got none")
    side: CropPx = _estimated(found, what) if crop_px is None else crop_px
    spec = CropSpec(side, CELL_PX)
    return np.stack([spec.cut(image) for image in found]), side


def _estimated(images: list[UInt8Image], what: str) -> int:
    places = evenly_spaced(len(images), SCALE_SAMPLE, ends=True)
    found = propose_crop_px(CellSize.of(images[place]) for place in places)
    if found is None:
        raise ImageError(
            f"{what}: expected nuclei, to estimate the square around a cell, got none in {len(places)} images; "
            "state the side of the square in pixels, or 'whole'"
        )
    return found
