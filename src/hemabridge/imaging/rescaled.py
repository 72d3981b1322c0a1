"""Standardizers for one scale, used at another scale without loss of detail."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.errors import ImageError
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images

MAX_INNER_PIXELS = 4_000_000
"""Largest image, in pixels at the inner scale, that is re-stained in one piece."""


class RescaledStandardizer:
    """Runs `inner` on images resized by `scale`, and adds its change, resized back, to the originals.

    Details finer than the inner scale therefore come from the original and are never blurred. At scale 1 the result is
    that of `inner`. `smallest_px` is the shortest side, at the inner scale, that `inner` accepts.
    """

    def __init__(self, inner: Standardizer, scale: float, smallest_px: int = 1) -> None:
        if not scale > 0:
            raise ImageError(f"expected a scale above 0, got {scale}")
        self.inner = inner
        self.scale = scale
        self.smallest_px = smallest_px

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3].

        Raises:
            ImageError: at the inner scale the images have a side below `smallest_px`, or more than `MAX_INNER_PIXELS`.
        """
        height, width = images.shape[1:3]
        size = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        if min(size) < self.smallest_px:
            raise ImageError(
                f"expected a side of at least {self.smallest_px} pixels at the model's scale, got "
                f"{size[0]} x {size[1]} of an image of {width} x {height}; leave it out, or state the square around a "
                "cell (--crop-px)"
            )
        if size[0] * size[1] > MAX_INNER_PIXELS:
            raise ImageError(
                f"expected at most {MAX_INNER_PIXELS} pixels at the model's scale, got {size[0]} x {size[1]}; "
                "cut the field into single cells first"
            )
        if self.scale == 1.0 or len(images) == 0:
            return self.inner.standardize(images)
        return _with_change_at(size, self.inner, images)


class SqueezedStandardizer:
    """Runs `inner` on images resized to squares of `side_px`, and adds its change, resized back, to the originals."""

    def __init__(self, inner: Standardizer, side_px: int) -> None:
        self.inner = inner
        self.side_px = side_px

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3]."""
        if len(images) == 0:
            return images.copy()
        return _with_change_at((self.side_px, self.side_px), self.inner, images)


def _with_change_at(size: tuple[int, int], inner: Standardizer, images: UInt8Images) -> UInt8Images:
    """Add the change of `inner` at `size` (width, height) to uint8[N, H, W, 3]."""
    height, width = images.shape[1:3]
    small = np.stack([_resized(image, size) for image in images])
    change = inner.standardize(small).astype(np.float32) - small
    grown = np.stack([_resized_change(one, (width, height)) for one in change])
    out: UInt8Images = np.clip(np.rint(images + grown), 0, 255).astype(np.uint8)
    return out


def _resized(image: UInt8Image, size: tuple[int, int]) -> UInt8Image:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _resized_change(change: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize float32[H, W, 3] to `size` (width, height)."""
    bands = [Image.fromarray(change[:, :, band]).resize(size, Image.Resampling.BICUBIC) for band in range(3)]
    return np.stack([np.asarray(band) for band in bands], axis=2)
