"""Nuclei: where they lie, what shape they have, and how their chromatin is clumped."""

import math
from dataclasses import dataclass

import numpy as np

from hemabridge.data.simulate.canvas import Canvas, Field
from hemabridge.data.simulate.geometry import Disc, chain, edge, ellipse, intersect, roughen, union_of_discs


@dataclass(frozen=True)
class Chromatin:
    """How chromatin is distributed in a nucleus.

    Attributes:
        density: mean thickness, 1.0 is a dense lymphocyte.
        clumps_um: size of the clumps; coarse in mature cells, fine in blasts.
        contrast: standard deviation of the clumping, as a fraction of the density.
        gaps: how much lighter the parachromatin between clumps is, 0..1.
        rim: extra thickness of the nuclear membrane.
    """

    density: float
    clumps_um: float
    contrast: float
    gaps: float
    rim: float


def stain_chromatin(canvas: Canvas, rng: np.random.Generator, depth: Field, kind: Chromatin) -> Field:
    """Return the chromatin thickness of the nucleus whose depth below its edge (µm) is given."""
    clumps = canvas.noise(rng, kind.clumps_um)
    fine = canvas.noise(rng, kind.clumps_um * 0.5)
    large = canvas.noise(rng, kind.clumps_um * 3.5)
    mottle = np.tanh(clumps * 0.7 + fine * 0.35 + large * 0.35)
    thickness = 1.0 + kind.contrast * mottle
    light = edge(clumps * -0.75 + fine * 0.45 - 0.95, 0.35)
    thickness *= 1.0 - kind.gaps * light
    dome = np.clip(depth, 0.0, 1.5) * (0.12 / 1.5) + 0.92
    membrane = np.exp(-(((depth - 0.22) / 0.2) ** 2)) * kind.rim
    amount: Field = np.clip(thickness * dome + membrane, 0.15, None) * (edge(depth, 0.14) * kind.density)
    return amount


def segmented(canvas: Canvas, rng: np.random.Generator, lobes: int, cell_um: float) -> Field:
    """Return the depth of a nucleus of `lobes` joined lobes on a curve in a cell of radius `cell_um`."""
    turn = rng.uniform(0.75, 1.15) * (1.15 + 0.95 * lobes) * (1 if rng.random() < 0.5 else -1)
    start, orbit = rng.uniform(0, 2 * math.pi), cell_um * rng.uniform(0.40, 0.52)
    offset_angle, offset = rng.uniform(0, 2 * math.pi), cell_um * rng.uniform(0.0, 0.12)
    size = cell_um * (0.37 - 0.028 * lobes)
    discs: list[Disc] = []
    for lobe in range(lobes):
        angle = start + turn * (lobe / max(lobes - 1, 1))
        radius, away = size * rng.uniform(0.85, 1.15), orbit * rng.uniform(0.85, 1.15)
        stretch = rng.uniform(0.3, 0.8) * radius
        tilt = angle + math.pi / 2 + rng.normal(0.0, 0.45)
        cx = away * math.cos(angle) + offset * math.cos(offset_angle)
        cy = away * math.sin(angle) + offset * math.sin(offset_angle)
        sign = math.copysign(1.0, turn)
        for along in (-1.0, 0.0, 1.0):
            shift = sign * along * stretch
            discs.append(Disc(cx + shift * math.cos(tilt), cy + shift * math.sin(tilt), radius))
    waist = rng.uniform(0.18, 0.6)
    return roughen(_join_lobes(canvas, discs, waist), canvas, rng, 0.10, 1.1)


def _join_lobes(canvas: Canvas, discs: list[Disc], waist: float) -> Field:
    joined: list[Disc] = []
    for first in range(0, len(discs), 3):
        if joined:
            joined += chain([discs[first - 1], discs[first]], waist=waist, steps=4)
        joined += discs[first : first + 3]
    return union_of_discs(canvas, joined)


def kidney(canvas: Canvas, rng: np.random.Generator, radius_um: float) -> Field:
    """Return the depth of a large indented nucleus: a bean, a horseshoe or a folded mass."""
    angle = rng.uniform(0, 2 * math.pi)
    shift = radius_um * rng.uniform(0.0, 0.15)
    body = Disc(shift * math.cos(angle), shift * math.sin(angle), radius_um)
    mass = ellipse(canvas, body, aspect=rng.uniform(1.15, 1.55), angle=angle + math.pi / 2)
    bite_um = radius_um * rng.uniform(0.35, 0.6)
    away = radius_um * rng.uniform(0.85, 1.1)
    bite = Disc(body.x + away * math.cos(angle), body.y + away * math.sin(angle), bite_um)
    bean = intersect(mass, -ellipse(canvas, bite, aspect=rng.uniform(1.0, 1.6), angle=angle), 0.8)
    return roughen(roughen(bean, canvas, rng, 0.45, 3.0), canvas, rng, 0.12, 0.9)


def oval(canvas: Canvas, rng: np.random.Generator, disc: Disc, *, aspect: float, uneven_um: float) -> Field:
    """Return the depth of a round or oval nucleus whose outline is uneven by `uneven_um`."""
    depth = ellipse(canvas, disc, aspect=aspect, angle=rng.uniform(0, math.pi))
    return roughen(roughen(depth, canvas, rng, uneven_um, 2.6), canvas, rng, uneven_um * 0.25, 0.8)


def cleft(canvas: Canvas, rng: np.random.Generator, depth: Field, disc: Disc) -> Field:
    """Cut one or two narrow clefts into a nucleus, from its edge inwards."""
    for _ in range(1 + int(rng.random() < 0.35)):
        angle = rng.uniform(0, 2 * math.pi)
        inner = disc.radius * rng.uniform(-0.1, 0.45)
        bend = rng.normal(0.0, 0.25)
        wedge = [
            Disc(
                disc.x + away * math.cos(angle + bend * t),
                disc.y + away * math.sin(angle + bend * t),
                0.10 + 0.42 * t * t,
            )
            for t, away in ((t, inner + (disc.radius * 1.1 - inner) * t) for t in np.linspace(0.0, 1.0, 9))
        ]
        depth = intersect(depth, -union_of_discs(canvas, wedge), 0.35)
    return depth
