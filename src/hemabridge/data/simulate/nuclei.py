"""Nuclei: their place, their shape, and the clumps of their chromatin."""

import math
from dataclasses import dataclass

import numpy as np

from hemabridge.data.simulate.canvas import Canvas, Field
from hemabridge.data.simulate.geometry import Disc, chain, edge, ellipse, intersect, roughen, union_of_discs

_DISCS_PER_LOBE = 3


@dataclass(frozen=True)
class Chromatin:
    """How chromatin is distributed in a nucleus.

    Attributes:
        density: mean thickness; 1.0 is that of a dense lymphocyte.
        clumps_um: size of the light specks between the clumps; coarse in mature cells, fine in blasts.
        contrast: variation of the thickness over larger regions, as a fraction of the density.
        gaps: loss of thickness in the specks, 0..1.
        open: more specks: the threshold is lower by this many standard deviations.
        rim: extra thickness of the nuclear membrane.
    """

    density: float
    clumps_um: float = 0.25
    contrast: float = 0.16
    gaps: float = 0.55
    open: float = 0.0
    rim: float = 0.15


@dataclass(frozen=True)
class Nucleus:
    """A simulated nucleus: thickness of its chromatin, and its area (0..1), where there is no cytoplasm."""

    chromatin: Field
    coverage: Field


def paint_nucleus(canvas: Canvas, rng: np.random.Generator, depth: Field, kind: Chromatin) -> Nucleus:
    """Return the nucleus of a given shape, a field of depth below its edge (µm)."""
    regions = canvas.noise(rng, 1.1)
    specks = canvas.noise(rng, kind.clumps_um) + 0.3 * canvas.noise(rng, kind.clumps_um * 1.8) + 0.15 * regions
    light = np.clip((specks + kind.open - 0.36) * 0.8, 0.0, 1.0) * edge(depth - 0.3, 0.3)
    uneven = np.tanh(2.1 * canvas.noise(rng, 0.75) - 1.25 * regions)
    thickness = (1.0 + kind.contrast * uneven) * (1.0 - kind.gaps * light)
    membrane = kind.rim * np.exp(-(((depth - 0.2) / 0.22) ** 2))
    coverage = edge(depth, 0.13)
    return Nucleus(np.clip(thickness + membrane, 0.1, None) * (coverage * kind.density), coverage)


def segmented(canvas: Canvas, rng: np.random.Generator, lobes: int, cell_um: float) -> Field:
    """Return the depth (µm) of a nucleus of `lobes` joined lobes on a curve, in a cell of radius `cell_um`."""
    turn = rng.uniform(0.8, 1.2) * (1.0 + 0.95 * (lobes - 1)) * (1 if rng.random() < 0.5 else -1)
    start, orbit = rng.uniform(0, 2 * math.pi), cell_um * rng.uniform(0.40, 0.54)
    offset_angle, offset = rng.uniform(0, 2 * math.pi), cell_um * rng.uniform(0.0, 0.14)
    size = cell_um * (0.38 - 0.03 * lobes)
    discs: list[Disc] = []
    for lobe in range(lobes):
        angle = start + turn * (lobe / max(lobes - 1, 1))
        radius, away = size * rng.uniform(0.85, 1.18), orbit * rng.uniform(0.85, 1.12)
        stretch = rng.uniform(0.25, 0.75) * radius * math.copysign(1.0, turn)
        tilt = angle + math.pi / 2 + rng.normal(0.0, 0.4)
        cx = away * math.cos(angle) + offset * math.cos(offset_angle)
        cy = away * math.sin(angle) + offset * math.sin(offset_angle)
        for along in np.linspace(-1.0, 1.0, _DISCS_PER_LOBE).tolist():
            swell = radius * (1.0 - 0.08 * abs(along))
            discs.append(Disc(cx + along * stretch * math.cos(tilt), cy + along * stretch * math.sin(tilt), swell))
    depth = union_of_discs(canvas, _join_lobes(discs, rng.uniform(0.12, 0.55)))
    return roughen(roughen(depth, canvas, rng, 0.25, 1.3), canvas, rng, 0.08, 0.5)


def _join_lobes(discs: list[Disc], waist: float) -> list[Disc]:
    joined: list[Disc] = []
    for first in range(0, len(discs), _DISCS_PER_LOBE):
        if joined:
            joined += chain([discs[first - 1], discs[first]], waist=waist, steps=5)
        joined += discs[first : first + _DISCS_PER_LOBE]
    return joined


def kidney(canvas: Canvas, rng: np.random.Generator, radius_um: float) -> Field:
    """Return the depth (µm) of a large indented nucleus: a bean, a horseshoe or a folded mass."""
    angle = rng.uniform(0, 2 * math.pi)
    shift = -radius_um * rng.uniform(0.0, 0.12)
    body = Disc(shift * math.cos(angle), shift * math.sin(angle), radius_um)
    mass = ellipse(canvas, body, aspect=rng.uniform(1.1, 1.5), angle=angle + math.pi / 2)
    depth = roughen(mass, canvas, rng, 0.63, 3.2)
    for _ in range(1 + int(rng.random() < 0.3)):
        away = radius_um * rng.uniform(0.85, 1.15)
        bite = Disc(body.x + away * math.cos(angle), body.y + away * math.sin(angle), radius_um * rng.uniform(0.3, 0.5))
        depth = intersect(depth, -ellipse(canvas, bite, aspect=rng.uniform(1.0, 2.2), angle=angle), 1.0)
        angle += rng.uniform(1.5, 4.5)
    return roughen(depth, canvas, rng, 0.15, 0.9)


def oval(canvas: Canvas, rng: np.random.Generator, disc: Disc, *, aspect: float, uneven_um: float) -> Field:
    """Return the depth (µm) of a round or oval nucleus whose outline is uneven by `uneven_um`."""
    depth = ellipse(canvas, disc, aspect=aspect, angle=rng.uniform(0, math.pi))
    return roughen(roughen(depth, canvas, rng, uneven_um, 3.0), canvas, rng, uneven_um * 0.25, 0.9)


def cleft(canvas: Canvas, rng: np.random.Generator, depth: Field, disc: Disc) -> Field:
    """Cut one or two narrow clefts into a nucleus, from its edge inwards."""
    angle = rng.uniform(0, 2 * math.pi)
    for _ in range(1 + int(rng.random() < 0.4)):
        inner, bend, mouth = disc.radius * rng.uniform(-0.2, 0.4), rng.normal(0.0, 0.4), rng.uniform(0.1, 0.4)
        wedge = []
        for t in np.linspace(0.0, 1.0, 26).tolist():
            away = inner + (disc.radius * 1.2 - inner) * t
            x, y = away * math.cos(angle + bend * t), away * math.sin(angle + bend * t)
            wedge.append(Disc(disc.x + x, disc.y + y, 0.07 + mouth * t * t))
        groove = roughen(union_of_discs(canvas, wedge), canvas, rng, 0.13, 0.7)
        depth = intersect(depth, -groove, 0.3)
        angle += rng.uniform(1.6, 4.6)
    return depth
