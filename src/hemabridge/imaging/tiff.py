"""TIFF files: the page that is the picture, and samples that Pillow cannot read."""

import logging
import re
import struct
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from hemabridge.errors import ImageError
from hemabridge.imaging.declared_size import check_size
from hemabridge.imaging.whole_file import check_segments

MAX_PAGES = 64
"""Largest number of pages; a file with more is a stack, or has an endless chain of pages."""

_COMPRESSIONS_OF_PILLOW = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000}
"""None, fax, LZW, JPEG, deflate, PackBits, LZMA and Zstandard."""

_SILENTLY_CUT = {6, 7, 33003, 33004, 33005, 34712, 34927, 50001}
"""JPEG, JPEG 2000 and WebP: their decoders make a picture of data that end early."""

_SIGNIFICANT = re.compile(r'SignificantBits="(\d+)"')
_PRIMARIES = "red, green and blue"
_PHOTOMETRIC = tifffile.PHOTOMETRIC

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damage is reported as an error with the path
_READ = (_PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR)
_MAX_SAMPLE_VALUE = 281
_ICC_PROFILE = 34675
_ORIENTATION = 274


class TiffPicture:
    """The samples of a TIFF file's picture.

    Attributes:
        samples: uint8 or uint16[H, W] or [H, W, C]; None if Pillow can read the file.
        has_alpha: whether the last sample is opacity; other extra samples are left out.
        is_premultiplied: whether the colors are multiplied by that opacity.
        white: largest value of a sample of 16 bits, as the file states it; None if it does not.
        orientation: EXIF orientation, 1..8.
        icc_profile: color profile; empty if there is none.
    """

    def __init__(self, page: tifffile.TiffPage | None, channels: NDArray[Any] | None = None) -> None:
        self.samples: NDArray[Any] | None = None
        self.is_premultiplied = False
        self.has_alpha, self.white, self.orientation, self.icc_profile = False, None, 1, b""
        if page is None:
            return
        tags = page.tags
        self.white = _integer(tags, _MAX_SAMPLE_VALUE)
        if 8 < page.bitspersample < 16:  # packed
            self.white = 2**page.bitspersample - 1
        elif stated := _SIGNIFICANT.search(page.parent.ome_metadata or ""):
            self.white = 2 ** int(stated[1]) - 1
        self.orientation = _integer(tags, _ORIENTATION) or 1
        profile = tags.get(_ICC_PROFILE)
        self.icc_profile = b"" if profile is None else bytes(profile.value)
        if channels is not None:
            self.samples = channels
            return
        pixels = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        further = tuple(page.extrasamples)
        if pixels.ndim == 3 and further:
            # Opacity is the first extra sample, if any; a sample of unspecified meaning is not opacity.
            self.has_alpha = further[0] != tifffile.EXTRASAMPLE.UNSPECIFIED
            self.is_premultiplied = further[0] == tifffile.EXTRASAMPLE.ASSOCALPHA
            pixels = pixels[..., : pixels.shape[2] - len(further) + self.has_alpha]
        self.samples = pixels


def read_tiff(file: BinaryIO, where: str) -> TiffPicture:
    """Find the picture of a TIFF file; its samples are read only if Pillow cannot read them.

    A page that is marked as reduced, or that is at most half as wide and high as the largest one, is a thumbnail or a
    level of a pyramid; a mask of transparency is left out. The three channels of a composite of ImageJ are red, green
    and blue, in the order of their colors; the slices or frames of a stack are not.

    Args:
        file: an open file at its beginning.
        where: the path, for messages.

    Raises:
        ImageError: the file has several pictures, a too large one, or samples that are not gray or RGB.
    """
    count = count_pages(file, where)
    with tifffile.TiffFile(file) as tiff:
        pages = [page for page in (tiff.pages[index].aspage() for index in range(count)) if not page.is_mask]
        order = _composite_order(tiff, pages, where)
        page = pages[0 if order else _picture_of(pages, where)]
        check_size(page.imagewidth, page.imagelength, where)
        if int(page.compression) in _SILENTLY_CUT:
            check_segments(file, zip(page.dataoffsets, page.databytecounts, strict=True), where)
        if order:
            return TiffPicture(page, np.stack([pages[place].asarray() for place in order], axis=-1))
        if page.index == 0 and _pillow_reads(page):
            return TiffPicture(None)
        _check_samples(page, where)
        return TiffPicture(page)


def _composite_order(tiff: tifffile.TiffFile, pages: list[tifffile.TiffPage], where: str) -> tuple[int, ...]:
    """Return the places of red, green and blue in a file of ImageJ with three channels; empty if it is no such file.

    Raises:
        ImageError: the three channels have other colors.
    """
    facts = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    alike = len({page.shape for page in pages}) == 1 and pages[0].samplesperpixel == 1
    if facts.get("channels") != 3 or facts.get("images", 3) != 3 or len(pages) != 3 or not alike:
        return ()
    tables = [np.asarray(table) for table in facts.get("LUTs", ())]
    if len(tables) != 3 or all((table == table[:1]).all() for table in tables):  # none, or shown in gray
        return (0, 1, 2)
    shown = [tuple(bool(row.any()) for row in table) for table in tables]
    wanted = [tuple(place == color for place in range(3)) for color in range(3)]
    if sorted(shown) != sorted(wanted):
        raise ImageError(
            f"{where}: expected channels shown in {_PRIMARIES}, got other colors; save it as RGB color in ImageJ"
        )
    return tuple(shown.index(color) for color in wanted)


def count_pages(file: BinaryIO, where: str) -> int:
    """Return the number of pages in the chain of page directories; the file is then at its beginning.

    Raises:
        ImageError: the chain has a loop, is longer than `MAX_PAGES`, or has no page.
    """
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", head[2:4])[0] == 43
    offset_kind, count_kind, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    start = 8 if big else 4
    offset = struct.unpack(f"{order}{offset_kind}", head[start : start + struct.calcsize(offset_kind)])[0]
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise ImageError(f"{where}: expected a chain of pages that ends, got a loop; export it again")
        if len(seen) == MAX_PAGES:
            raise ImageError(f"{where}: expected a single image, found more than {MAX_PAGES} pages; save one by one")
        following = _next_page(file, offset, f"{order}{count_kind}", f"{order}{offset_kind}", entry_bytes)
        if following is None:  # a directory beyond the end of the file
            break
        seen.add(offset)
        offset = following
    file.seek(0)
    if not seen:
        raise ImageError(f"{where}: expected a single image, found none; the file is damaged, export it again")
    return len(seen)


def _next_page(file: BinaryIO, offset: int, count_kind: str, offset_kind: str, entry_bytes: int) -> int | None:
    """Return the offset of the next page directory, 0 after the last one; None if there is none at `offset`."""
    file.seek(offset)
    raw = file.read(struct.calcsize(count_kind))
    if len(raw) < struct.calcsize(count_kind):
        return None
    file.seek(struct.unpack(count_kind, raw)[0] * entry_bytes, 1)
    raw = file.read(struct.calcsize(offset_kind))
    return 0 if len(raw) < struct.calcsize(offset_kind) else int(struct.unpack(offset_kind, raw)[0])


def _picture_of(pages: list[tifffile.TiffPage], where: str) -> int:
    """Return the index of the only page that is not a smaller copy of another one."""
    whole = [place for place, page in enumerate(pages) if not page.is_reduced]
    largest = max(whole or range(len(pages)), key=lambda place: pages[place].imagewidth * pages[place].imagelength)
    width, height = pages[largest].imagewidth, pages[largest].imagelength
    others = [pages[place] for place in whole if place != largest]
    if any(2 * other.imagewidth > width or 2 * other.imagelength > height for other in others):
        raise ImageError(f"{where}: expected a single image, found {len(pages)} frames or pages; save them one by one")
    return largest


def _pillow_reads(page: tifffile.TiffPage) -> bool:
    """Return whether Pillow can read a page: samples of at most 8 bits, with a compression and layout of Pillow."""
    further = tuple(page.extrasamples)
    # Pillow divides by associated opacity, which may be 0.
    is_odd = bool(further) and (
        page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        or further[0] == tifffile.EXTRASAMPLE.ASSOCALPHA
        or len(further) > 1
        or page.dtype != np.uint8
    )
    return page.bitspersample <= 8 and int(page.compression) in _COMPRESSIONS_OF_PILLOW and not is_odd


def _check_samples(page: tifffile.TiffPage, where: str) -> None:
    colors = page.samplesperpixel - len(page.extrasamples)
    if page.dtype not in (np.uint8, np.uint16) or page.imagedepth != 1 or colors not in (1, 3):
        raise ImageError(
            f"{where}: expected gray or RGB of 8 or 16 bits per sample, got {page.samplesperpixel} samples of "
            f"{page.dtype}; export the image as 8-bit RGB"
        )
    photometric = _PHOTOMETRIC(page.photometric)
    if photometric not in _READ:
        raise ImageError(f"{where}: expected gray or RGB samples, got {photometric.name}; export it as 8-bit RGB")


def _integer(tags: Any, code: int) -> int | None:
    tag = tags.get(code)
    if tag is None:
        return None
    value = tag.value[0] if isinstance(tag.value, tuple) else tag.value
    return int(value)
