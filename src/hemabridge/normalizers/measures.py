"""What is measured of images, and the empty field and optical densities that all methods begin with."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemabridge.data.sampling import evenly_spaced
from hemabridge.imaging.color import optical_density
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.glass import Glass, white_of
from hemabridge.normalizers.levels import Rgb, to_levels

FIT_IMAGES = 400
"""Of larger sets, this many images, evenly spaced, are measured where each image costs a segmentation."""

SAMPLE_PIXELS = 200_000
"""Of larger sets, this many pixels are measured."""

LARGEST_WHITE_GAIN = 2.0
"""A channel is made at most this many times, at least 1 / this, as bright: darker images show no empty field."""

_QUANTILES = np.linspace(0, 1, 513)[1:-1]


def spaced(images: UInt8Images) -> UInt8Images:
    """Return at most `FIT_IMAGES` images, evenly spaced through the set."""
    if len(images) <= FIT_IMAGES:
        return images
    return images[evenly_spaced(len(images), FIT_IMAGES, ends=True)]


def sample_pixels(images: UInt8Images, count: int = SAMPLE_PIXELS) -> UInt8Image:
    """Return all pixels uint8[P, 3], or `count` that are drawn at random, the same ones each time."""
    pixels = images.reshape(-1, 3)
    if len(pixels) <= count:
        return pixels
    chosen = np.random.default_rng(0).integers(len(pixels), size=count)
    return np.asarray(pixels[chosen])


def site_glass(images: UInt8Images) -> Glass:
    """Measure the empty glass of a site."""
    return Glass.of(np.array([background_color(image) for image in spaced(images)]))


def site_white(images: UInt8Images) -> Rgb:
    """Return the color of a site's empty field, 0..255: the median over its images."""
    return site_glass(images).white


def site_pixels(images: UInt8Images, white: ArrayLike, count: int = SAMPLE_PIXELS) -> UInt8Image:
    """Return the colors uint8[P, 3] of a sample of a site's pixels, each image under the empty field `white`."""
    measured = spaced(images)
    per_image = max(1, count // len(measured))
    return np.concatenate(
        [whitened(image, white_of(image, None)[0], white).reshape(-1, 3)[_draw(image, per_image)] for image in measured]
    )


def site_density(images: UInt8Images) -> NDArray[np.float64]:
    """Return the optical densities float64[P, 3] of a sample of a site's pixels, each against its image's own field."""
    measured = spaced(images)
    per_image = max(1, SAMPLE_PIXELS // len(measured))
    return np.concatenate(
        [density_of(image, white_of(image, None)[0]).reshape(-1, 3)[_draw(image, per_image)] for image in measured]
    )


def nearest_scale(source: NDArray[np.float64], target: NDArray[np.float64], largest_gain: float) -> NDArray[np.float64]:
    """Return the factor on each column that brings the source's distribution nearest to the target's.

    In the 2-Wasserstein distance of one dimension, with a_q and b_q the quantiles of source and target, that is
    s = sum(a_q b_q) / sum(a_q^2).

    Args:
        source: amounts of stain, float64[P, K].
        target: amounts of stain, float64[Q, K].
        largest_gain: the factors lie between 1 / this and this.

    Returns:
        float64[K]; 1 where there is no pixel, or no stain to scale.
    """
    if not (len(source) and len(target)):
        return np.ones(source.shape[1])
    own, wanted = np.quantile(source, _QUANTILES, axis=0), np.quantile(target, _QUANTILES, axis=0)
    power = (own**2).sum(axis=0)
    scale = np.where(power > 1e-9, (own * wanted).sum(axis=0) / np.maximum(power, 1e-9), 1.0)
    return np.clip(scale, 1 / largest_gain, largest_gain)


def whitened(image: UInt8Image, own_white: NDArray[np.float32], target_white: ArrayLike) -> UInt8Image:
    """Return uint8[H, W, 3] in which the color `own_white` has become `target_white` (both sRGB 0..255)."""
    return to_levels(image * white_gain(own_white, target_white))


def white_gain(own_white: NDArray[np.float32], target_white: ArrayLike) -> NDArray[np.float64]:
    """Return the gain of each channel, float64[3], between 1 / `LARGEST_WHITE_GAIN` and `LARGEST_WHITE_GAIN`."""
    own = own_white.astype(np.float64)
    return np.clip(np.asarray(target_white, np.float64) / own, 1 / LARGEST_WHITE_GAIN, LARGEST_WHITE_GAIN)


def density_of(image: UInt8Image, own_white: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the optical density float64[H, W, 3] against an empty field; brighter pixels are negative."""
    return optical_density(image, own_white).astype(np.float64)


def from_density(density: NDArray[np.float64], white: ArrayLike) -> UInt8Image:
    """Return the colors uint8[..., 3] of optical densities [..., 3] under the empty field `white` (0..255)."""
    return to_levels(np.asarray(white) * 10.0 ** -np.clip(density, -10, 10))


def _draw(image: UInt8Image, count: int) -> NDArray[np.intp]:
    pixels = image.shape[0] * image.shape[1]
    if pixels <= count:
        return np.arange(pixels)
    return np.asarray(np.random.default_rng(0).integers(pixels, size=count), np.intp)
