"""What is measured of a set of images: a sample of pixels, the colour of the empty field, optical densities."""

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemabridge.imaging.color import optical_density
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.normalizer import Rgb

FIT_IMAGES = 400
"""Of larger sets, this many images, evenly spaced, are measured where each image costs a segmentation."""

SAMPLE_PIXELS = 200_000
"""Of larger sets, this many pixels are measured."""

STAINED_OD = 0.08
"""What absorbs less in every channel (decadic optical density) is the empty field and its noise."""


def spaced(images: UInt8Images) -> UInt8Images:
    """Return at most `FIT_IMAGES` images, evenly spaced through the set."""
    if len(images) <= FIT_IMAGES:
        return images
    return images[np.linspace(0, len(images) - 1, FIT_IMAGES).round().astype(np.intp)]


def sample_pixels(images: UInt8Images, count: int = SAMPLE_PIXELS) -> UInt8Image:
    """Return all pixels uint8[P, 3], or `count` that are drawn at random, the same ones each time."""
    pixels = images.reshape(-1, 3)
    if len(pixels) <= count:
        return pixels
    chosen = np.random.default_rng(0).integers(len(pixels), size=count)
    return np.asarray(pixels[chosen])


def site_white(images: UInt8Images) -> Rgb:
    """Return the colour of a site's empty field, 0..255: the median over its images."""
    whites = [background_color(image) for image in spaced(images)]
    return as_rgb(np.median(whites, axis=0))


def site_density(images: UInt8Images) -> NDArray[np.float64]:
    """Return the optical densities float64[P, 3] of a sample of a site's pixels, each against its image's own field."""
    measured = spaced(images)
    per_image = max(1, SAMPLE_PIXELS // len(measured))
    return np.concatenate([own_density(image).reshape(-1, 3)[_draw(image, per_image)] for image in measured])


def own_density(image: UInt8Image) -> NDArray[np.float64]:
    """Return the optical density float64[H, W, 3] against the image's own empty field; brighter pixels are negative."""
    return optical_density(image, np.maximum(background_color(image), 1)).astype(np.float64)


def from_density(density: NDArray[np.float64], white: ArrayLike) -> UInt8Image:
    """Return the colours uint8[..., 3] of optical densities [..., 3] under the empty field `white` (0..255)."""
    return to_levels(np.asarray(white) * 10.0**-density)


def to_levels(values: NDArray[np.float64]) -> UInt8Image:
    """Round to uint8; what leaves 0..255 is clipped."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def as_rgb(values: ArrayLike) -> Rgb:
    """Return three plain floats."""
    red, green, blue = (float(value) for value in np.asarray(values, np.float64))
    return red, green, blue


def as_rows(matrix: ArrayLike) -> tuple[Rgb, ...]:
    """Return the rows of a matrix [K, 3] as plain floats."""
    return tuple(as_rgb(row) for row in cast("NDArray[np.float64]", np.asarray(matrix)))


def _draw(image: UInt8Image, count: int) -> NDArray[np.intp]:
    pixels = image.shape[0] * image.shape[1]
    if pixels <= count:
        return np.arange(pixels)
    return np.asarray(np.random.default_rng(0).integers(pixels, size=count), np.intp)
