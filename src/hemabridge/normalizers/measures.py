"""Measurements of images that the methods share: empty field, samples of pixels, optical density and its scale."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemabridge.imaging.color import optical_density
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.glass import Glass, white_of
from hemabridge.normalizers.levels import Rgb, curves_applied, to_levels
from hemabridge.sampling import evenly_spaced

FIT_IMAGES = 400
"""At most so many images, evenly spaced through the set, are measured if each needs a segmentation."""

SAMPLE_PIXELS = 200_000
"""At most so many pixels of a site are measured."""

LARGEST_WHITE_GAIN = 2.0
"""Largest gain of a channel, and inverse of the smallest one; an image that needs more shows no empty field."""

_EVERY_LEVEL = np.arange(256.0)[:, None]
_QUANTILES = np.linspace(0, 1, 513)[1:-1]


def spaced(images: UInt8Images) -> UInt8Images:
    """Return at most `FIT_IMAGES` images, evenly spaced through the set."""
    if len(images) <= FIT_IMAGES:
        return images
    return images[evenly_spaced(len(images), FIT_IMAGES, ends=True)]


def sample_pixels(images: UInt8Images, count: int = SAMPLE_PIXELS) -> UInt8Image:
    """Return all pixels uint8[P, 3], or `count` pixels drawn at random with a fixed seed."""
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
    """Return a sample of a site's pixels, uint8[P, 3], after the white point of each image was set to `white`."""
    measured = spaced(images)
    per_image = max(1, count // len(measured))
    return np.concatenate(
        [whitened(image, white_of(image, None)[0], white).reshape(-1, 3)[_draw(image, per_image)] for image in measured]
    )


def site_density(images: UInt8Images) -> NDArray[np.float64]:
    """Return optical densities of a sample of a site's pixels, float64[P, 3], relative to each image's empty field."""
    measured = spaced(images)
    per_image = max(1, SAMPLE_PIXELS // len(measured))
    return np.concatenate(
        [density_of(image, white_of(image, None)[0]).reshape(-1, 3)[_draw(image, per_image)] for image in measured]
    )


def nearest_scale(source: NDArray[np.float64], target: NDArray[np.float64], largest_gain: float) -> NDArray[np.float64]:
    """Return the factor on each column that brings the source's distribution closest to the target's.

    It minimizes the 2-Wasserstein distance in one dimension: with quantiles a_q of the source and b_q of the target,
    s = sum(a_q b_q) / sum(a_q^2).

    Args:
        source: amounts of stain, float64[P, K].
        target: amounts of stain, float64[Q, K].
        largest_gain: the factors lie between 1 / this and this.

    Returns:
        float64[K]; 1 if there are no pixels, or no stain to scale.
    """
    if not (len(source) and len(target)):
        return np.ones(source.shape[1])
    own, wanted = np.quantile(source, _QUANTILES, axis=0), np.quantile(target, _QUANTILES, axis=0)
    power = (own**2).sum(axis=0)
    scale = np.where(power > 1e-9, (own * wanted).sum(axis=0) / np.maximum(power, 1e-9), 1.0)
    return np.clip(scale, 1 / largest_gain, largest_gain)


def whitened(image: UInt8Image, own_white: NDArray[np.float32], target_white: ArrayLike) -> UInt8Image:
    """Return the image, uint8[H, W, 3], with its white point moved from `own_white` to `target_white` (0..255)."""
    return curves_applied(image, white_curves(own_white, target_white))


def white_curves(own_white: NDArray[np.float32], target_white: ArrayLike) -> UInt8Image:
    """Return what each level of each channel becomes, uint8[256, 3], if the white point moves as in `whitened`."""
    return to_levels(_EVERY_LEVEL * white_gain(own_white, target_white))


def white_gain(own_white: NDArray[np.float32], target_white: ArrayLike) -> NDArray[np.float64]:
    """Return the gain of each channel, float64[3], between 1 / `LARGEST_WHITE_GAIN` and `LARGEST_WHITE_GAIN`."""
    own = own_white.astype(np.float64)
    return np.clip(np.asarray(target_white, np.float64) / own, 1 / LARGEST_WHITE_GAIN, LARGEST_WHITE_GAIN)


def density_of(image: UInt8Image, own_white: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the optical density relative to the empty field, float64[H, W, 3]; brighter pixels are negative."""
    return optical_density(image, own_white).astype(np.float64)


def levels_density(own_white: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the optical density of each level of each channel, relative to the empty field, float64[256, 3]."""
    return density_of(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), own_white)


def from_density(density: NDArray[np.floating], white: ArrayLike) -> UInt8Image:
    """Return the colors, uint8[..., 3], of optical densities [..., 3] relative to the empty field `white` (0..255)."""
    light = np.exp(np.clip(density, -10, 10) * density.dtype.type(-np.log(10)))
    return to_levels(light * np.asarray(white, density.dtype))


def _draw(image: UInt8Image, count: int) -> NDArray[np.intp]:
    pixels = image.shape[0] * image.shape[1]
    if pixels <= count:
        return np.arange(pixels)
    return np.asarray(np.random.default_rng(0).integers(pixels, size=count), np.intp)
