"""Blobs of an image, described so that mirrored, turned, resized and cropped copies have them in common.

Blobs are extrema of differences of Gaussians over place and scale (Lindeberg 1998, doi:10.1023/A:1008045108935). What
lies around a blob is sampled on rings in units of its scale. A turn of the image shifts each ring and a mirror reverses
it, so that the sizes of the rings' Fourier coefficients, and their phases against those of the next rings, stay.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from hemabridge.imaging.standardizer import UInt8Image

Floats = NDArray[np.float32]

SIDE_PX = 96
"""Longer side of the gray picture in which images are compared."""

MOST_BLOBS = 24
"""So many blobs of an image are kept, those of most contrast first."""

RINGS, ANGLES = 8, 24

_SCALE_STEP = 1.15
_SCALES_PX = 1.6 * _SCALE_STEP ** np.arange(16)
_LEAST_CONTRAST = 0.4
_REACH = 4.0
_HARMONICS = 6
_SMOOTHING = 0.4
_LEAST_SIDE_PX = 8

_RADII = ((np.arange(RINGS) + 0.5) / RINGS * _REACH)[:, None]
_TURNS = np.arange(ANGLES) * 2 * np.pi / ANGLES
RING_OFFSETS = np.stack([_RADII * np.sin(_TURNS), _RADII * np.cos(_TURNS)]).astype(np.float32)
"""Down and right offsets of the samples of a blob in units of its scale, float32[2, RINGS, ANGLES]."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What is kept of an image to find other views of it.

    Attributes:
        gray: uint8[H, W], the longer side `SIDE_PX`.
        blobs: float32[K, 3]: row, column and scale (standard deviation) in pixels of `gray`; K is at most `MOST_BLOBS`.
        descriptors: float16[K, D], the same for turned and mirrored images.
    """

    gray: NDArray[np.uint8]
    blobs: Floats
    descriptors: NDArray[np.float16]


def landmarks(image: UInt8Image) -> Landmarks:
    """Find and describe the blobs of an RGB image uint8[H, W, 3]."""
    gray = _small(image)
    levels = _levels(gray.astype(np.float32))
    blobs = _blobs(levels)
    return Landmarks(gray, blobs, _described(_rings(levels, blobs)))


def rings_of(gray: Floats, blob: Floats) -> Floats:
    """Return what lies around one blob (row, column, scale) of a gray picture float32[H, W]: float32[RINGS, ANGLES]."""
    sigma = _SMOOTHING * blob[2]
    margin = int(_REACH * blob[2] + 4 * sigma) + 3  # what is farther away changes no sample
    starts = np.maximum(blob[:2].astype(int) - margin, 0)
    ends = blob[:2].astype(int) + margin + 1
    smooth = ndimage.gaussian_filter(gray[starts[0] : ends[0], starts[1] : ends[1]], sigma, mode="nearest")
    at = (blob[:2, None, None] + blob[2] * RING_OFFSETS) - starts[:, None, None]
    return np.asarray(ndimage.map_coordinates(smooth, at, order=1, mode="nearest"))


def _small(image: UInt8Image) -> NDArray[np.uint8]:
    gray = Image.fromarray(image).convert("L")
    zoom = SIDE_PX / max(gray.size)
    size = (max(_LEAST_SIDE_PX, round(gray.width * zoom)), max(_LEAST_SIDE_PX, round(gray.height * zoom)))
    return np.asarray(gray.resize(size, Image.Resampling.LANCZOS))


def _levels(gray: Floats) -> Floats:
    """Return the picture smoothed at each scale, float32[len(_SCALES_PX), H, W]."""
    levels = [ndimage.gaussian_filter(gray, _SCALES_PX[0], mode="nearest")]
    for finer, coarser in pairwise(_SCALES_PX):
        levels.append(ndimage.gaussian_filter(levels[-1], np.sqrt(coarser**2 - finer**2), mode="nearest"))
    return np.stack(levels)


def _blobs(levels: Floats) -> Floats:
    strength = np.abs(np.diff(levels, axis=0))
    peaks = strength == ndimage.maximum_filter(strength, size=3, mode="nearest")
    peaks[[0, -1]] = False
    places = np.argwhere(peaks & (strength >= _LEAST_CONTRAST))
    strongest = np.argsort(-strength[tuple(places.T)], kind="stable")[:MOST_BLOBS]
    places = places[strongest]
    fine = places + np.stack([_vertex(strength, places, axis) for axis in range(3)], axis=1)
    scales = _SCALES_PX[0] * np.sqrt(_SCALE_STEP) * _SCALE_STEP ** fine[:, 0]
    return np.column_stack([fine[:, 1:], scales]).astype(np.float32)


def _vertex(strength: Floats, places: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
    """Return where the parabola through each peak and its two neighbors along an axis is highest, -0.5..0.5."""
    step = np.eye(3, dtype=np.int64)[axis]
    top = np.array(strength.shape) - 1
    before, peak, after = (
        strength[tuple(np.clip(places + side * step, 0, top).T)].astype(np.float64) for side in (-1, 0, 1)
    )
    bend = before - 2 * peak + after
    flat = bend > -1e-6
    return np.where(flat, 0.0, 0.5 * (before - after) / np.where(flat, 1.0, bend)).clip(-0.5, 0.5)


def _rings(levels: Floats, blobs: Floats) -> Floats:
    """Return the rings around each blob, float32[K, RINGS, ANGLES], smoothed in proportion to its scale."""
    wanted = np.log(np.maximum(_SMOOTHING * blobs[:, 2], _SCALES_PX[0]) / _SCALES_PX[0]) / np.log(_SCALE_STEP)
    level = np.rint(wanted).astype(np.float32)
    rows, columns = (blobs[:, axis, None, None] + blobs[:, 2, None, None] * RING_OFFSETS[axis] for axis in range(2))
    at = np.stack([np.broadcast_to(level[:, None, None], rows.shape), rows, columns])
    return np.asarray(ndimage.map_coordinates(levels, at, order=1, mode="nearest"))


def _described(rings: Floats) -> NDArray[np.float16]:
    centered = rings - rings.mean(axis=(1, 2), keepdims=True)
    plain = centered / (centered.std(axis=(1, 2), keepdims=True) + 1e-3)
    spectrum = np.fft.rfft(plain, axis=2)[:, :, :_HARMONICS] / ANGLES
    waves = spectrum[:, :, 1:]
    size = np.sqrt(np.abs(waves))
    phased = waves / np.maximum(size, 1e-6)
    parts = [
        spectrum[:, :, 0].real,
        size,
        (phased[:, 1:] * phased[:, :-1].conj()).real,
        (phased[:, 2:] * phased[:, :-2].conj()).real,
    ]
    return np.concatenate([part.reshape(len(rings), np.prod(part.shape[1:])) for part in parts], axis=1).astype(
        np.float16
    )
