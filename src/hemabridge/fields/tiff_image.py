"""Large TIFF files, BigTIFF and pyramids, read tile by tile; the physical size of pixels in TIFF and OME-TIFF."""

import re
import xml.etree.ElementTree as ElementTree
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from hemabridge.errors import ImageError
from hemabridge.fields.field_image import (
    LARGE_PIXELS,
    FieldImage,
    Window,
    bounds,
    level_for,
    plausible_um,
    white_of,
)
from hemabridge.imaging.declared_size import check_size
from hemabridge.imaging.dicom import as_rgb
from hemabridge.imaging.files import read_image
from hemabridge.imaging.reader import SentImages
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.sampling import evenly_spaced

CACHED_BYTES: Final = 64_000_000
"""Memory for decoded tiles."""

SAMPLED_TILES: Final = 16
"""Number of tiles whose largest value says the depth of samples of 16 bits."""

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_READ = (_PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR)
_SAME_SHAPE: Final = 0.02  # relative difference of the proportions of two levels
_MM_OF = {"nm": 1e-6, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
_OF_DAMAGE = (tifffile.TiffFileError, ValueError, IndexError, KeyError, TypeError, RuntimeError)
_APERIO_UM = re.compile(r"\bMPP\s*=\s*([0-9.]+)")


class TiffPixels:
    """One page of a TIFF file, of which parts are decoded; the file must stay open."""

    def __init__(self, file: tifffile.TiffFile, page: tifffile.TiffPage, where: str) -> None:
        colors = page.samplesperpixel - len(page.extrasamples)
        if page.dtype not in (np.uint8, np.uint16) or page.photometric not in _READ or colors not in (1, 3):
            raise ImageError(
                f"{where}: expected gray or RGB of 8 or 16 bits per sample, got {page.samplesperpixel} samples of "
                f"{page.dtype}; export the image as 8-bit RGB"
            )
        self._file, self._page, self._where = file, page, where
        self._tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self._columns = -(-page.imagewidth // self._tile[1])
        self._planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._cached = max(1, CACHED_BYTES // max(1, self._tile[0] * self._tile[1] * 4 * page.dtype.itemsize))
        self._white = 255 if page.dtype == np.uint8 else self._find_white()

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, and 3."""
        return self._page.imagelength, self._page.imagewidth, 3

    def __getitem__(self, window: Window, /) -> UInt8Image:
        """Decode the tiles of a part: uint8[h, w, 3]."""
        top, left, bottom, right = bounds(window, self.shape)
        out: UInt8Image = np.empty((bottom - top, right - left, 3), np.uint8)
        height, width = self._tile
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                tile = as_rgb(self._decoded(row * self._columns + column), self._white)
                first, start = row * height, column * width
                rows = slice(max(top, first), min(bottom, first + tile.shape[0]))
                columns = slice(max(left, start), min(right, start + tile.shape[1]))
                out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = tile[
                    rows.start - first : rows.stop - first, columns.start - start : columns.stop - start
                ]
        return out

    def _decoded(self, number: int) -> NDArray[Any]:
        """Return the samples [h, w, C] of one tile or strip, of all planes."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return np.asarray(self._cache[number])
        per_plane = len(self._page.dataoffsets) // self._planes
        with _refused_if_damaged(self._where):
            planes = [self._segment(number + plane * per_plane) for plane in range(self._planes)]
            samples = planes[0] if self._planes == 1 else np.concatenate(planes, axis=-1)
        self._cache[number] = samples
        if len(self._cache) > self._cached:
            self._cache.popitem(last=False)
        return np.asarray(samples)

    def _segment(self, number: int) -> NDArray[Any]:
        decode = self._page.decode  # reads from the file when it is first asked for
        tables = self._page.jpegtables
        handle = self._file.filehandle
        handle.seek(self._page.dataoffsets[number])
        data = handle.read(self._page.databytecounts[number])
        decoded, _, shape = decode(data, number, jpegtables=tables)
        if decoded is None:  # a tile that the file leaves out, as slides do where there is only glass
            return np.full((*shape[1:3], shape[3]), np.iinfo(self._page.dtype).max, self._page.dtype)
        samples: NDArray[Any] = decoded[0]
        return samples

    def _find_white(self) -> int:
        per_plane = len(self._page.dataoffsets) // self._planes
        largest = max(int(self._decoded(int(tile)).max()) for tile in evenly_spaced(per_plane, SAMPLED_TILES))
        return white_of(largest, 16)


@contextmanager
def open_tiff(path: Path, sent: SentImages | None = None) -> Iterator[FieldImage]:
    """Open a TIFF file: a small one whole, as `read_image` does, a large one or a pyramid tile by tile.

    Args:
        path: the file.
        sent: files in memory, of which it is one; None: it is on the disk.

    Raises:
        ImageError: it is damaged, or of a sample type that is not read; or it is in memory and has too many pixels.
    """
    with ExitStack() as opened:
        with _refused_if_damaged(
            str(path)
        ):  # an error of the caller in the body of its `with` says nothing of the file
            source = path if sent is None else BytesIO(sent.contents[path])
            field = _field_of(opened.enter_context(tifffile.TiffFile(source)), path, sent)
        yield field


def _field_of(file: tifffile.TiffFile, path: Path, sent: SentImages | None) -> FieldImage:
    """Return the level of a file that shows cells well enough."""
    pages = _levels(file, path)
    um_per_px = _stated_um(file, pages[0])
    level = level_for(um_per_px, [pages[0].imagewidth / page.imagewidth for page in pages])
    page = pages[level]
    scale = None if um_per_px is None else um_per_px * pages[0].imagewidth / page.imagewidth
    if sent is not None:
        check_size(max(page.imagewidth, page.tilewidth), max(page.imagelength, page.tilelength), str(path))
    if level == 0 and page.imagewidth * page.imagelength <= LARGE_PIXELS:
        return FieldImage(read_image(path) if sent is None else sent.read(path), scale)
    return FieldImage(TiffPixels(file, page, str(path)), scale)


@contextmanager
def _refused_if_damaged(where: str) -> Iterator[None]:
    """Raise `ImageError` for what tifffile raises of a damaged file."""
    try:
        yield
    except ImageError:
        raise
    except _OF_DAMAGE as error:
        raise ImageError(
            f"{where}: expected a whole TIFF file, could not decode it ({error}); export it again"
        ) from error


def _levels(file: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPage]:
    """Return the pages with the proportions of the largest one, largest first; labels and thumbnails differ."""
    pages = [level.keyframe for series in file.series for level in series.levels]
    pages = sorted(
        (page for page in pages if page.imagedepth == 1), key=lambda page: -page.imagewidth * page.imagelength
    )
    if not pages:
        raise ImageError(f"{path}: expected a picture, found none; export it again")
    own = pages[0].imagewidth / pages[0].imagelength
    return [page for page in pages if abs(page.imagewidth / page.imagelength / own - 1) < _SAME_SHAPE]


def _stated_um(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Return micrometers per pixel of the largest level, if the file states what a microscope can have."""
    for found in (_ome_um(file.ome_metadata), _aperio_um(page.description), _resolution_um(page)):
        if plausible_um(found) is not None:
            return found
    return None


def _ome_um(metadata: str | None) -> float | None:
    """Return PhysicalSizeX of the first image (OME schema 2016-06), in micrometers unless another unit is stated."""
    if not metadata or "<!DOCTYPE" in metadata:
        return None
    try:
        pixels = ElementTree.fromstring(metadata).find(".//{*}Pixels")
        value = None if pixels is None else pixels.get("PhysicalSizeX")
        return (
            None
            if pixels is None or value is None
            else (1000 * float(value) * _MM_OF.get(pixels.get("PhysicalSizeXUnit", "µm"), float("nan")))
        )
    except (ElementTree.ParseError, ValueError):
        return None


def _aperio_um(description: str) -> float | None:
    found = _APERIO_UM.search(description)
    try:
        return None if found is None else float(found[1])
    except ValueError:
        return None


def _resolution_um(page: tifffile.TiffPage) -> float | None:
    """Return the width of a pixel by the tags XResolution and ResolutionUnit (TIFF 6.0, section 8)."""
    unit = {2: 25_400.0, 3: 10_000.0}.get(int(page.resolutionunit))
    per_unit = float(page.get_resolution()[0])
    return None if unit is None or per_unit <= 0 else unit / per_unit
