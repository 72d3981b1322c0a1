"""The images that normalizers take: sets of RGB images, and no larger ones than a method can work on."""

from typing import Final

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

MAX_WHOLE_PIXELS: Final = 4_000_000
"""The largest image that a method which is not pointwise works on in one piece: about half a gigabyte."""


def check_images(images: UInt8Images, what: str) -> None:
    """Raise ImageError unless `images` is uint8[N, H, W, 3] with pixels; N may be 0."""
    fits = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4
    if not fits or images.shape[3] != 3 or 0 in images.shape[1:]:
        got = f"{images.dtype}{list(images.shape)}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ImageError(f"{what}: expected RGB uint8[N, H, W, 3], got {got}; read them with hemabridge.read_image")


def check_in_one_piece(image: UInt8Image) -> None:
    """Raise ImageError if an image is too large for a method that needs all of it at once."""
    height, width = image.shape[:2]
    if height * width > MAX_WHOLE_PIXELS:
        raise ImageError(
            f"expected at most {MAX_WHOLE_PIXELS:,} pixels for a method that segments the whole image, got {width} x "
            f"{height}; state the square around a cell (--crop-px), or cut the field into single cells first"
        )


def check_sites(source: UInt8Images, target: UInt8Images) -> None:
    """Raise ImageError unless both are sets uint8[N, H, W, 3] of at least one image."""
    for images, what in ((source, "source images"), (target, "target images")):
        check_images(images, what)
        if len(images) == 0:
            raise ImageError(f"{what}: expected at least one image to fit a normalizer on, got none")
