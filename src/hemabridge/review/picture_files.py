"""The picture files for readers: format, size, length and metadata are equal in all arms."""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from hemabridge.errors import InputError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import crop_center, resize_square, squeezed
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import FileProgress
from hemabridge.review.arms import Picture

SHOWN_PX: Final = 512
"""Smaller pictures are enlarged to this side, so that browsers interpolate less."""

LARGEST_PX: Final = 1024
SMALLEST_PX: Final = 16

_PADDING: Final = b"paDd"
"""Type of the PNG chunk that pads all files to one length: ancillary, private, safe to copy (PNG 3rd edition, 5.4)."""

_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def write_pictures(
    pictures: Mapping[str, Picture], folder: Path, *, size_px: int | None = None, progress: FileProgress | None = None
) -> int:
    """Write `ID.png` for each opaque id, all with the same side and file length.

    All pictures are first resized to the side of the smallest one and then to the shown side. Otherwise an arm of low
    resolution could be recognized.

    Args:
        pictures: by opaque id.
        folder: the new folder.
        size_px: the common side in pixels; that of the smallest picture if None.
        progress: called after each file.

    Returns:
        The common side in pixels, before enlarging.

    Raises:
        ImageError: a file cannot be read.
        InputError: a picture is too small for reading.
    """
    common = size_px or min(LARGEST_PX, min(_side_of(picture) for picture in _each_once(pictures)))
    if common < SMALLEST_PX:
        raise InputError(f"expected pictures of at least {SMALLEST_PX} px, got one of {common} px; leave that arm out")
    # In the order of the random ids: files in the order of drawing would reveal which pictures are of one arm.
    for number, (name, picture) in enumerate(sorted(pictures.items(), key=lambda named: named[0]), start=1):
        content = encoded(resize_square(_shown(picture, common), max(common, SHOWN_PX)))
        (folder / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(content)
        if progress is not None:
            progress(number, len(pictures))
    _pad_all(folder)
    return common


def encoded(image: UInt8Image) -> bytes:
    """Return RGB uint8[S, S, 3] as PNG without any metadata."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def padded(content: bytes, length: int) -> bytes:
    """Return the PNG, padded by a chunk of zeros to `length` bytes, which is at least 12 more than its length."""
    if not content.endswith(_END) or length < len(content) + 12:
        raise InputError(f"expected a PNG at least 12 bytes shorter than {length}, got {len(content)} bytes")
    data = bytes(length - len(content) - 12)
    check = struct.pack(">I", zlib.crc32(_PADDING + data))
    return content.removesuffix(_END) + struct.pack(">I", len(data)) + _PADDING + data + check + _END


def _pad_all(folder: Path) -> None:
    files = sorted(folder.iterdir())
    length = 12 + max(path.stat().st_size for path in files)
    for path in files:  # the folder is used by this call only, so that rewriting is safe
        path.write_bytes(padded(path.read_bytes(), length))


def _each_once(pictures: Mapping[str, Picture]) -> list[Picture]:
    return list(dict.fromkeys(pictures.values()))


def _side_of(picture: Picture) -> int:
    height, width = read_image(picture.path).shape[:2]
    crop = _crop_of(picture, (height, width))
    return crop if isinstance(crop, int) else min(height, width)


def _shown(picture: Picture, common: int) -> UInt8Image:
    image = read_image(picture.path)
    crop = _crop_of(picture, image.shape[:2])
    if isinstance(crop, str):
        return squeezed(image, common)
    return resize_square(crop_center(image, crop), common)


def _crop_of(picture: Picture, shape: tuple[int, ...]) -> int | str:
    """Return the side of the square that shows the cell, or `whole`."""
    if picture.crop_px is not None:
        return picture.crop_px
    like = picture.like
    if like is not None and like.crop_px is not None and read_image(like.path).shape[:2] == shape[:2]:
        return like.crop_px
    return min(shape[:2])
