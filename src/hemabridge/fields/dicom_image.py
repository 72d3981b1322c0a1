"""DICOM files: a single frame, or the frames of a whole-slide image, read frame by frame. Needs the extra `dicom`."""

from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np

from hemabridge.errors import HemabridgeError
from hemabridge.fields.field_image import FieldImage, Window, bounds, plausible_um
from hemabridge.imaging.declared_size import check_size
from hemabridge.imaging.dicom import check_single, damaged, frame_places, frame_rgb, read_attributes, stated_spacing_mm
from hemabridge.imaging.standardizer import UInt8Image

CACHED_FRAMES: Final = 64
"""Number of decoded frames that are kept."""


class DicomPixels:
    """The total pixel matrix of a whole-slide image (DICOM PS3.3 C.8.12.4), of which parts are decoded."""

    def __init__(self, path: Path, data: Any) -> None:
        self._path, self._data = path, data
        self._shape = int(data.TotalPixelMatrixRows), int(data.TotalPixelMatrixColumns), 3
        self._tile = int(data.Rows), int(data.Columns)
        self._frames = frame_places(data)
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
            self._cache[number] = frame_rgb(self._path, self._data, number, str(self._path))[0]
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
    data = read_attributes(path, str(path))
    try:
        spacing = stated_spacing_mm(data)
        um_per_px = plausible_um(None if spacing is None else 1000 * spacing[1])
        if "TotalPixelMatrixRows" in data:
            return FieldImage(DicomPixels(path, data), um_per_px)
        check_single(data, str(path))
        check_size(int(data.Columns), int(data.Rows), str(path))
        return FieldImage(frame_rgb(path, data, 0, str(path))[0], um_per_px)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, HemabridgeError) as error:
        raise damaged(str(path), error) from error
