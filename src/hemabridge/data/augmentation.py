"""Geometric augmentation, which changes no color: pure functions of images and a random generator.

Each function takes uint8[N, H, W, 3], draws independently for each image, and returns new uint8 arrays. Augmentation
of color is in `hemabridge.data.stain_augmentation`.
"""

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.standardizer import UInt8Images

FLIP_PROBABILITY = 0.5


def random_crop_flip(images: UInt8Images, crop_px: int, rng: np.random.Generator) -> UInt8Images:
    """Cut a random square from each image and mirror half of them left to right: CycleGAN's augmentation.

    Zhu et al. 2017 (doi:10.1109/ICCV.2017.244), reference implementation: load 286, crop 256, flip with p = 0.5.

    Args:
        images: uint8[N, H, W, 3].
        crop_px: Side of the square, 1 to min(H, W).
        rng: Drawn from in a fixed order: rows, columns, flips.

    Returns:
        uint8[N, crop_px, crop_px, 3].

    Raises:
        ValueError: `crop_px` does not fit.
    """
    cropped = random_crop(images, crop_px, rng)
    flipped = rng.random(len(images)) < FLIP_PROBABILITY
    return np.where(flipped[:, None, None, None], cropped[:, :, ::-1], cropped)


def random_crop(images: UInt8Images, crop_px: int, rng: np.random.Generator) -> UInt8Images:
    """Cut from each image a square of `crop_px` pixels at a random place; all places are equally likely.

    Raises:
        ValueError: `crop_px` is not within 1 to min(H, W).
    """
    count, height, width = images.shape[:3]
    if not 1 <= crop_px <= min(height, width):
        raise ValueError(f"expected a crop of 1 to {min(height, width)} px, got {crop_px}: choose a smaller crop_px")
    tops = rng.integers(0, height - crop_px + 1, count)
    lefts = rng.integers(0, width - crop_px + 1, count)
    return _windows(images, tops, lefts, crop_px, crop_px)


def shift(images: UInt8Images, max_px: int, rng: np.random.Generator) -> UInt8Images:
    """Move each image by -max_px..max_px pixels in both directions; uncovered places repeat the edge pixels.

    Returns:
        uint8[N, H, W, 3].
    """
    count, height, width = images.shape[:3]
    padded = np.pad(images, ((0, 0), (max_px, max_px), (max_px, max_px), (0, 0)), mode="edge")
    tops, lefts = rng.integers(0, 2 * max_px + 1, (2, count))
    return _windows(padded, tops, lefts, height, width)


def dihedral(images: UInt8Images, rng: np.random.Generator) -> UInt8Images:
    """Turn each square image by a multiple of 90 degrees and mirror half of them: the 8 symmetries of a square.

    A smear has no natural orientation, so all eight are valid images of the cell.

    Raises:
        ValueError: the images are not square.
    """
    count, height, width = images.shape[:3]
    if height != width:
        raise ValueError(f"expected square images, got {width} x {height}: crop them first")
    turns = rng.integers(0, 4, (count,))
    flips = rng.random((count,)) < FLIP_PROBABILITY
    out = np.empty_like(images)
    for index, (turn, flip) in enumerate(zip(turns.tolist(), flips.tolist(), strict=True)):
        turned = np.rot90(images[index], turn)
        out[index] = turned[:, ::-1] if flip else turned
    return out


def _windows(
    images: UInt8Images, tops: NDArray[np.int64], lefts: NDArray[np.int64], height: int, width: int
) -> UInt8Images:
    out = np.empty((len(images), height, width, 3), dtype=np.uint8)
    for index, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        out[index] = images[index, top : top + height, left : left + width]
    return out
