"""DICOM files: a single frame, or the frames of a whole-slide image, read frame by frame. Needs the extra `dicom`."""

from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import ImageError, MissingExtraError
from hemabridge.fields.field_image import FieldImage, Window, as_rgb, bounds, plausible_um
from hemabridge.imaging.decoding import check_size
from hemabridge.imaging.standardizer import UInt8Image

CACHED_FRAMES: Final = 64
"""Number of decoded frames that are kept."""

_DAMAGED: Final = (AttributeError, KeyError, IndexError, ValueError, TypeError, RuntimeError, NotImplementedError)


class DicomPixels:
    """The total pixel matrix of a whole-slide image (DICOM PS3.3 C.8.12.4), of which parts are decoded."""

    def __init__(self, path: Path, data: Any) -> None:
        self._path, self._data = path, data
        self._shape = int(data.TotalPixelMatrixRows), int(data.TotalPixelMatrixColumns), 3
        self._tile = int(data.Rows), int(data.Columns)
        self._frames = _frame_places(data, self._tile, self._shape)
        self._cache: OrderedDict[int, UInt8Image] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, and 3."""
        return self._shape

    def __getitem__(self, window: Window, /) -> UInt8Image:
        """Decode the frames of a part: uint8[h, w, 3]; white where there is no frame."""
        top, left, bottom, right = bounds(window, self._shape)
        out: UInt8Image = np.full((bottom - top, right - left, 3), 255, np.uint8)
        for (first, start), number in self._frames.items():
            rows = slice(max(top, first), min(bottom, first + self._tile[0]))
            columns = slice(max(left, start), min(right, start + self._tile[1]))
            if rows.start < rows.stop and columns.start < columns.stop:
                out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = self._decoded(
                    number
                )[rows.start - first : rows.stop - first, columns.start - start : columns.stop - start]
        return out

    def _decoded(self, number: int) -> UInt8Image:
        if number not in self._cache:
            self._cache[number] = _frame(self._path, self._data, number)
            if len(self._cache) > CACHED_FRAMES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(number)
        return self._cache[number]


def open_dicom(path: Path) -> FieldImage:
    """Open a DICOM file.

    Raises:
        ImageError: it is damaged, has no picture, or several that are not tiles of one.
        MissingExtraError: pydicom is not installed.
    """
    try:
        import pydicom
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{path}: DICOM files need pydicom: pip install 'hemabridge[dicom]'") from error
    try:
        data = pydicom.dcmread(path, defer_size=1_000_000)
        um_per_px = plausible_um(_stated_um(data))
        if "TotalPixelMatrixRows" in data:
            return FieldImage(DicomPixels(path, data), um_per_px)
        count = int(data.get("NumberOfFrames", 1) or 1)
        if count != 1:
            raise ImageError(
                f"{path}: expected one picture, or the tiles of a slide, found {count} frames; save them one by one"
            )
        check_size(int(data.Columns), int(data.Rows), str(path))
        return FieldImage(_frame(path, data, 0), um_per_px)
    except (pydicom.errors.InvalidDicomError, *_DAMAGED) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"{path}: expected a whole DICOM image, could not read it ({error}); export it again"
        ) from error


def _frame(path: Path, data: Any, number: int) -> UInt8Image:
    """Decode one frame as RGB uint8[h, w, 3]."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    try:
        samples: NDArray[Any] = pixel_array(path, index=number)
        if data.PhotometricInterpretation == "PALETTE COLOR":
            samples = apply_color_lut(samples, data)
            return as_rgb(samples, int(np.iinfo(samples.dtype).max))
    except _DAMAGED as error:
        raise ImageError(
            f"{path}: expected a whole DICOM image, could not decode it ({error}); export it again"
        ) from error
    white = 2 ** int(data.BitsStored) - 1
    pixels = as_rgb(samples, white)
    return 255 - pixels if data.PhotometricInterpretation == "MONOCHROME1" else pixels


def _frame_places(data: Any, tile: tuple[int, int], shape: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Return the frame at each top and left: as stated for each, or row by row (TILED_FULL)."""
    stated = data.get("PerFrameFunctionalGroupsSequence")
    if stated and data.get("DimensionOrganizationType", "") != "TILED_FULL":
        places = [group.PlanePositionSlideSequence[0] for group in stated]
        return {
            (
                int(place.RowPositionInTotalImagePixelMatrix) - 1,
                int(place.ColumnPositionInTotalImagePixelMatrix) - 1,
            ): number
            for number, place in enumerate(places)
        }
    columns, rows = -(-shape[1] // tile[1]), -(-shape[0] // tile[0])
    return {
        (row * tile[0], column * tile[1]): row * columns + column for row in range(rows) for column in range(columns)
    }


def _stated_um(data: Any) -> float | None:
    """Return the distance of pixels of a row by Pixel Spacing, which is in mm (DICOM PS3.3 10.7.1.3)."""
    shared = data.get("SharedFunctionalGroupsSequence")
    measures = shared[0].get("PixelMeasuresSequence") if shared else None
    spacing = measures[0].get("PixelSpacing") if measures else data.get("PixelSpacing")
    if spacing:
        return 1000 * float(spacing[1])
    if "ImagedVolumeWidth" in data and "TotalPixelMatrixColumns" in data:
        return 1000 * float(data.ImagedVolumeWidth) / int(data.TotalPixelMatrixColumns)
    return None
