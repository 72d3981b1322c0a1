"""The size that a file declares. It is checked before any pixel is decoded: a small file must not fill the memory."""

from typing import BinaryIO, Final

from PIL import Image

from hemabridge.errors import ImageError

MAX_PIXELS: Final = 100_000_000
"""Largest width x height that is read, so that a small file cannot fill the memory."""

MAX_SIDE: Final = 32_768
"""Largest width or height that is read, in pixels; no camera makes such long lines."""

MAX_DEFLATE: Final = 1_100
"""Largest compression of a PNG: deflate reaches 1,032 bytes per byte. A file that declares more is not valid."""


def check_size(width: int, height: int, where: str) -> None:
    """Check that an image of a declared size may be read.

    Raises:
        ImageError: it has no pixel, or more than `MAX_PIXELS`, or a side longer than `MAX_SIDE`.
    """
    if not 0 < width * height <= MAX_PIXELS:
        raise ImageError(
            f"{where}: expected 1 to {MAX_PIXELS:,} pixels, the header says {width} x {height}; crop or "
            "shrink the image"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{where}: expected sides of at most {MAX_SIDE:,} pixels, the header says {width} x {height}; crop "
            "the image"
        )


def check_declared(image: Image.Image, file: BinaryIO, where: str) -> None:
    """Refuse a PNG file that is too small for the pixels that it declares."""
    if image.format != "PNG":
        return
    place = file.tell()
    held = file.seek(0, 2)
    file.seek(place)
    if image.width * image.height > MAX_DEFLATE * 8 * held:  # at least one bit per pixel
        raise ImageError(
            f"{where}: expected the data of {image.width} x {image.height} pixels, got a file of {held:,} bytes, "
            "which cannot hold them; it is damaged or made to fill the memory, leave it out"
        )
