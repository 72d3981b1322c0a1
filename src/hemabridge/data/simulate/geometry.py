"""Shapes of cells and nuclei as smooth fields of distance to their edge (µm, positive inside)."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hemabridge.data.simulate.canvas import Canvas, Field

_FAR_OUTSIDE_UM = -100.0


class Disc(NamedTuple):
    """A disc: center and radius in µm."""

    x: float
    y: float
    radius: float


def edge(depth_um: Field, softness_um: float) -> Field:
    """Turn depth (µm, positive inside) into coverage 0..1 with a soft edge of half-width `softness_um`."""
    ramp: Field = np.clip(depth_um * (0.5 / softness_um) + 0.5, 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def ellipse(canvas: Canvas, disc: Disc, *, aspect: float = 1.0, angle: float = 0.0) -> Field:
    """Return the depth below the edge of an ellipse with semi-axes radius·√aspect and radius/√aspect (first order)."""
    dx, dy = canvas.x - disc.x, canvas.y - disc.y
    cos, sin, stretch = math.cos(angle), math.sin(angle), math.sqrt(aspect)
    along = (dx * cos + dy * sin) / stretch
    across = (dy * cos - dx * sin) * stretch
    return disc.radius - np.sqrt(along * along + across * across)


def union_of_discs(canvas: Canvas, discs: Iterable[Disc]) -> Field:
    """Return the depth below the edge of the union of discs (exact outside, a lower bound inside)."""
    depth = np.full((canvas.size_px, canvas.size_px), _FAR_OUTSIDE_UM, dtype=np.float32)
    for disc in discs:
        dx, dy = canvas.x - disc.x, canvas.y - disc.y
        np.maximum(depth, disc.radius - np.sqrt(dx * dx + dy * dy), out=depth)
    return depth


def intersect(first: Field, second: Field, rounding_um: float) -> Field:
    """Return the depth inside both shapes, its corners rounded by `rounding_um` (polynomial smooth minimum)."""
    blend: Field = np.clip(rounding_um - np.abs(first - second), 0.0, None)
    return np.minimum(first, second) - blend * blend * (0.25 / rounding_um)


def roughen(depth_um: Field, canvas: Canvas, rng: np.random.Generator, amplitude_um: float, scale_um: float) -> Field:
    """Move the edge in and out by a random field of `amplitude_um` (standard deviation) and `scale_um`."""
    return depth_um + amplitude_um * canvas.noise(rng, scale_um)


def fringe(canvas: Canvas, rng: np.random.Generator, *, length_um: float, hairs: int, spread: float) -> Field:
    """Return a field that is added to a depth field around the origin, so that hairs grow from the edge.

    Args:
        canvas: the grid.
        rng: source of randomness.
        length_um: mean length of the hairs.
        hairs: number of hairs around the whole cell.
        spread: part of the edge with hairs, in radians to both sides of a random pole.
    """
    angle = np.arctan2(canvas.y, canvas.x)
    around: Field = (angle * (hairs / (2.0 * math.pi)) + hairs) % hairs
    slot = around.astype(np.intp)
    lengths = length_um * np.minimum(rng.gamma(2.0, 0.5, hairs), 1.6).astype(np.float32)
    lengths[rng.random(hairs) < 0.35] = 0.0
    middles = rng.uniform(0.35, 0.65, hairs).astype(np.float32)
    pole: Field = np.exp((np.cos(angle - rng.uniform(0, 2 * math.pi)) - 1.0) * (2.0 / spread**2))
    peak: Field = np.clip(1.0 - np.abs(around - slot - middles[slot]) * 3.0, 0.0, None)
    return lengths[slot] * peak * np.sqrt(peak) * pole


def chain(discs: list[Disc], *, waist: float, steps: int) -> list[Disc]:
    """Join discs in a row by `steps` smaller discs between neighbors, narrowest (`waist`, a fraction) half-way."""
    joined = discs[:1]
    for start, end in pairwise(discs):
        for step in range(1, steps + 1):
            t = step / (steps + 1)
            narrow = 1.0 - (1.0 - waist) * (1.0 - abs(2.0 * t - 1.0) ** 1.5)
            radius = (start.radius * (1 - t) + end.radius * t) * narrow
            joined.append(Disc(start.x * (1 - t) + end.x * t, start.y * (1 - t) + end.y * t, radius))
        joined.append(end)
    return joined
