"""Files that are cut short without an error of their decoder, such as an incomplete copy that is filled with zeros."""

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO, Final

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.imaging.standardizer import UInt8Image

FEW_BLACK_ROWS: Final = 4
"""Number of black rows at an edge from which an image is reported."""

_TAIL_BYTES: Final = 64
"""Number of zero bytes at the end of compressed data that no encoder writes."""

_PNG_MAGIC_BYTES: Final = 8
_START_OF_SCAN: Final = b"\xff\xda"
_END_OF_IMAGE: Final = 0xD9
_CRITICAL: Final = (b"IHDR", b"PLTE", b"IDAT")


def check_png(file: BinaryIO, where: str) -> None:
    """Check the checksums of the chunks of a PNG file that hold its picture; Pillow does not check the last one.

    Raises:
        ImageError: a checksum is wrong.
    """
    size = file.seek(0, 2)
    file.seek(_PNG_MAGIC_BYTES)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND" or file.tell() + length + 4 > size:  # the decoder reports what is missing
            break
        if kind not in _CRITICAL:
            file.seek(length + 4, 1)
            continue
        checksum = zlib.crc32(file.read(length), zlib.crc32(kind))
        if checksum != int.from_bytes(file.read(4), "big"):
            raise _damaged(where)
    file.seek(0)


def ends_with_its_scan(content: bytes) -> bool:
    """Return whether a JPEG file has one scan, and after it no marker but the end of the image, at the end of the file.

    A decoder then meets that marker before it could read beyond the file: no marker has a length that leads there. In a
    scan, a byte 255 of the data is followed by a zero (ITU-T T.81, B.1.1.5).
    """
    start = content.find(_START_OF_SCAN)
    if start < 0:
        return False
    data = np.frombuffer(content, np.uint8, offset=start + len(_START_OF_SCAN))
    marked = np.flatnonzero(data == 0xFF)
    if len(marked) == 0 or marked[-1] != len(data) - 2:
        return False
    after = data[marked + 1]
    return bool(after[-1] == _END_OF_IMAGE and not after[:-1].any())


def check_tail(file: BinaryIO, where: str) -> None:
    """Check that a compressed file does not end with zeros.

    Raises:
        ImageError: it does.
    """
    size = file.seek(0, 2)
    check_segments(file, [(0, size)], where)
    file.seek(0)


def check_segments(file: BinaryIO, segments: Iterable[tuple[int, int]], where: str) -> None:
    """Check that no segment (offset, bytes) of compressed data ends with zeros.

    Raises:
        ImageError: one does.
    """
    for offset, length in segments:
        file.seek(offset + max(0, length - _TAIL_BYTES))
        tail = file.read(min(length, _TAIL_BYTES))
        if length > _TAIL_BYTES and not any(tail):
            raise _damaged(where)


def black_rows(image: UInt8Image) -> int:
    """Return the number of rows of an RGB image that are black at its upper or lower edge, whichever is more.

    Samples without compression have no checksum: this is what the zeros of an incomplete copy look like. 0 for an
    image that is black everywhere.
    """
    if not image[0].any() or not image[-1].any():
        rows = np.flatnonzero(image.any(axis=(1, 2)))
        return max(int(rows[0]), image.shape[0] - 1 - int(rows[-1])) if rows.size else 0
    return 0


def _damaged(where: str) -> ImageError:
    return ImageError(
        f"{where}: expected a whole image, got data that are damaged or end early, as those of an incomplete copy; "
        "copy or export it again, or leave it out"
    )
