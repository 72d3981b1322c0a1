"""The field of view in micrometers, and the band-limited random fields of which all structures consist.

All random numbers are drawn on lattices whose size depends on micrometers, not on pixels. The same cell can therefore
be rendered at 64 or at 512 pixels.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.floating[Any]]
"""One number per pixel of the canvas, float32[P, P]. (The type is wider, since numpy's stubs lose the precision.)"""

FIELD_UM = 18.0
"""Side of the square field of view, in µm: 180 pixels of Hospital Clínic's camera, at 0.1 µm per pixel."""

# A cubic B-spline keeps 151/315 of the variance of white noise per dimension, averaged over positions.
_SPLINE_DEVIATION = math.sqrt(151.0 / 315.0)


@dataclass(frozen=True)
class Canvas:
    """The pixel grid on which one cell is painted, in micrometers from its center.

    Attributes:
        size_px: number of pixels along a side.
        field_um: side of the canvas, in µm.
    """

    size_px: int
    field_um: float = FIELD_UM

    @property
    def px_per_um(self) -> float:
        """Pixels per micrometer."""
        return self.size_px / self.field_um

    @property
    def x(self) -> Field:
        """Pixel centers along a row, float32[1, P], µm, increasing to the right."""
        return _axis(self.size_px, self.field_um)[None, :]

    @property
    def y(self) -> Field:
        """Pixel centers along a column, float32[P, 1], µm, increasing downwards."""
        return _axis(self.size_px, self.field_um)[:, None]

    def zeros(self) -> Field:
        """Return a field of zeros."""
        return np.zeros((self.size_px, self.size_px), dtype=np.float32)

    def noise(self, rng: np.random.Generator, scale_um: float) -> Field:
        """Return a smooth random field of mean 0 and variance about 1.

        White noise on a lattice of `scale_um`, interpolated by cubic B-splines. Cook & DeRose (2005, Wavelet noise, ACM
        TOG 24:803-811) use quadratic ones.
        """
        weights = _spline_weights(self.size_px, self.field_um, scale_um)
        lattice = rng.standard_normal((weights.shape[1], weights.shape[1]), dtype=np.float32)
        return (weights @ lattice) @ weights.T

    def grains(self, rng: np.random.Generator, spacing_um: float) -> tuple[Field, Field]:
        """Return packed grains: distance to the nearest grain center (µm) and a random number 0..1 of that grain.

        One jittered point per square of side `spacing_um` (Worley 1996, A cellular texture basis function,
        SIGGRAPH 96, doi 10.1145/237170.237267).
        """
        cells = int(np.ceil(self.field_um / spacing_um)) + 2
        points = rng.random((3, cells, cells), dtype=np.float32)
        return _nearest_grain(self, points, spacing_um)


@lru_cache(maxsize=16)
def _axis(size_px: int, field_um: float) -> Field:
    axis = ((np.arange(size_px, dtype=np.float32) + 0.5) / size_px - 0.5) * field_um
    axis.setflags(write=False)
    return axis


@lru_cache(maxsize=128)
def _spline_weights(size_px: int, field_um: float, scale_um: float) -> Field:
    nodes = int(np.ceil(field_um / scale_um)) + 3
    position = (_axis(size_px, field_um) + field_um / 2) / scale_um + 1.0
    distance = np.abs(position[:, None] - np.arange(nodes)[None, :])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    weights: Field = (np.where(distance < 1.0, near, far) / _SPLINE_DEVIATION).astype(np.float32)
    weights.setflags(write=False)
    return weights


def _nearest_grain(canvas: Canvas, points: NDArray[np.float32], spacing_um: float) -> tuple[Field, Field]:
    position = (_axis(canvas.size_px, canvas.field_um) + (canvas.field_um / 2)) / spacing_um
    square = position.astype(np.intp) + 1
    within = position + 1.0 - square.astype(np.float32)
    nearest = np.full((canvas.size_px, canvas.size_px), 9.0, dtype=np.float32)
    mark = canvas.zeros()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            row, column = np.clip(square + dy, 0, points.shape[1] - 1), np.clip(square + dx, 0, points.shape[2] - 1)
            taken = points[:, row[:, None], column[None, :]]
            squared = (taken[0] + dx - within[None, :]) ** 2
            squared += (taken[1] + dy - within[:, None]) ** 2
            closer = squared < nearest
            np.copyto(nearest, squared, where=closer)
            np.copyto(mark, taken[2], where=closer)
    return np.sqrt(nearest, out=nearest) * spacing_um, mark
