"""The classes of leukocytes, each drawn as thickness maps of the structures that take up dye.

Sizes, nuclei, granules and cytoplasm follow the descriptions of stained films in Bain (2015), Blood Cells, 5th edition.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from hemabridge.data.simulate.canvas import Canvas, Field
from hemabridge.data.simulate.geometry import Disc, edge, ellipse, fringe, intersect, roughen
from hemabridge.data.simulate.nuclei import Chromatin, Nucleus, cleft, kidney, oval, paint_nucleus, segmented
from hemabridge.data.simulate.stain import Structure


@dataclass(frozen=True)
class Leukocyte:
    """One simulated leukocyte.

    Attributes:
        layers: thickness of each of its structures; 1 is the usual optical thickness.
        coverage: 0..1, the area of the cell.
    """

    layers: dict[Structure, Field]
    coverage: Field


Painter = Callable[[Canvas, np.random.Generator, float, list[Disc]], Leukocyte]
"""Draws a leukocyte of the given radius (µm) among red cells."""


def _outline(canvas: Canvas, rng: np.random.Generator, radius: float, *, uneven: float, fine: float = 0.08) -> Field:
    disc = Disc(0.0, 0.0, radius)
    depth = ellipse(canvas, disc, aspect=1.0 + abs(rng.normal(0.0, 0.09)), angle=rng.uniform(0, math.pi))
    return roughen(roughen(depth, canvas, rng, uneven, 4.5), canvas, rng, fine, 0.5)


def _molded(canvas: Canvas, depth: Field, red_cells: list[Disc]) -> Field:
    for cell in red_cells:
        depth = intersect(depth, -ellipse(canvas, Disc(cell.x, cell.y, cell.radius + 0.05)), 0.5)
    return depth


def _away(rng: np.random.Generator, distance: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * math.pi)
    return distance * math.cos(angle), distance * math.sin(angle)


def _grainy(canvas: Canvas, rng: np.random.Generator, contrast: float) -> Field:
    """Return the texture of stained cytoplasm around 1: a fine grain and soft clouds."""
    grain: Field = canvas.noise(rng, 0.28) + canvas.noise(rng, 0.55) + canvas.noise(rng, 2.0)
    return 1.0 + 1.15 * contrast * grain


def _dust(canvas: Canvas, rng: np.random.Generator, rarity: float) -> Field:
    """Return fine granules, 0..1; a larger `rarity` gives fewer."""
    peaks: Field = np.clip((canvas.noise(rng, 0.24) + 0.4 * canvas.noise(rng, 0.6) - rarity) * 1.25, 0.0, 1.0)
    return peaks


def _assemble(body: Field, nucleus: Nucleus, cytoplasm: dict[Structure, Field | float]) -> Leukocyte:
    free = body * (1.0 - 0.9 * nucleus.coverage)
    layers: dict[Structure, Field] = {structure: free * amount for structure, amount in cytoplasm.items()}
    layers[Structure.CHROMATIN] = nucleus.chromatin * body
    return Leukocyte(layers, body)


def _neutrophil(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    depth = _outline(canvas, rng, radius, uneven=0.42)
    body = edge(depth, 0.28)
    lobes = int(rng.choice((2, 3, 4, 5), p=(0.18, 0.42, 0.31, 0.09)))
    shape = intersect(segmented(canvas, rng, lobes, radius), depth - 0.35, 0.6)
    nucleus = paint_nucleus(canvas, rng, shape, Chromatin(0.95, open=0.02))
    granules = 0.10 + _dust(canvas, rng, rng.uniform(0.24, 0.57)) * rng.uniform(0.2, 0.5)
    ground = rng.uniform(0.6, 1.0) * _grainy(canvas, rng, 0.14)
    blue = rng.uniform(0.03, 0.12)
    return _assemble(body, nucleus, {Structure.PROTEIN: ground, Structure.RNA: blue, Structure.AZUROPHIL: granules})


def _eosinophil(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    distance, mark = canvas.grains(rng, 0.55)
    depth = _outline(canvas, rng, radius, uneven=0.33)
    body = edge(depth + 0.25 * (0.3 - distance), 0.2)
    shape = intersect(segmented(canvas, rng, int(rng.choice((2, 3), p=(0.8, 0.2))), radius), depth - 0.3, 0.6)
    nucleus = paint_nucleus(canvas, rng, shape, Chromatin(0.85, open=0.10, rim=0.2))
    bare = edge(canvas.noise(rng, 1.9) - rng.uniform(0.72, 1.43), 0.72)
    granules = (0.42 + edge(0.34 - distance, 0.24) * (0.25 + 0.6 * mark)) * (1.0 - 0.85 * bare)
    layers: dict[Structure, Field | float] = {
        Structure.EOSINOPHIL: granules * _grainy(canvas, rng, 0.06),
        Structure.PROTEIN: 0.25,
        Structure.RNA: 0.04 + 0.22 * bare,
        Structure.AZUROPHIL: 0.04,
    }
    return _assemble(body, nucleus, layers)


def _basophil(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    distance, mark = canvas.grains(rng, 0.5)
    kept = mark + 0.25 * canvas.noise(rng, 1.6) > rng.uniform(-0.1, 0.3)
    room = np.where(kept, 0.24 + 0.14 * mark, np.float32(-0.3)) - distance
    depth = _outline(canvas, rng, radius, uneven=0.42)
    depth = np.maximum(depth - 0.12, np.minimum(depth + 0.35, room))
    body = edge(depth, 0.18)
    shape = segmented(canvas, rng, int(rng.choice((2, 3))), radius * 1.1)
    nucleus = paint_nucleus(canvas, rng, shape, Chromatin(0.7, clumps_um=0.4, gaps=0.45, rim=0.0))
    cell = _assemble(body, nucleus, {Structure.PROTEIN: 0.8, Structure.AZUROPHIL: 0.4 + 0.29 * canvas.noise(rng, 0.8)})
    cell.layers[Structure.BASOPHIL] = body * edge(room, 0.2) * (1.0 - 0.55 * nucleus.coverage) * rng.uniform(0.6, 0.95)
    return cell


def _monocyte(canvas: Canvas, rng: np.random.Generator, radius: float, red_cells: list[Disc]) -> Leukocyte:
    depth = _molded(canvas, _outline(canvas, rng, radius, uneven=0.84, fine=0.10), red_cells)
    shape = intersect(kidney(canvas, rng, radius * rng.uniform(0.64, 0.74)), depth - 0.3, 0.4)
    nucleus = paint_nucleus(
        canvas, rng, shape, Chromatin(rng.uniform(0.62, 0.82), contrast=0.18, gaps=0.5, open=0.19, rim=0.3)
    )
    solid = 1.0 - 0.9 * _vacuoles(canvas, rng, radius)
    body = edge(depth, 0.25)
    blue = rng.uniform(0.2, 0.5) * (1.0 + 0.5 * np.exp(-np.clip(depth, 0.0, None) / 0.8)) * _grainy(canvas, rng, 0.14)
    layers: dict[Structure, Field | float] = {
        Structure.RNA: blue * solid,
        Structure.PROTEIN: rng.uniform(0.15, 0.45) * solid,
        Structure.AZUROPHIL: (0.06 + 0.6 * _dust(canvas, rng, 0.48)) * solid,
    }
    cell = _assemble(body, nucleus, layers)
    cell.layers[Structure.CHROMATIN] *= solid
    return cell


def _vacuoles(canvas: Canvas, rng: np.random.Generator, radius: float) -> Field:
    holes = canvas.zeros()
    for _ in range(int(rng.poisson(rng.choice((0.4, 3.5))))):
        x, y = _away(rng, radius * rng.uniform(0.5, 0.9))
        hole = ellipse(canvas, Disc(x, y, rng.uniform(0.2, 0.75)), aspect=rng.uniform(1.0, 1.3))
        np.maximum(holes, edge(hole, 0.16), out=holes)
    return holes


def _basophilic(canvas: Canvas, rng: np.random.Generator, depth: Field, center: float, rim: float) -> Field:
    """Return the RNA of cytoplasm: thickness `center` inside, `rim` at the edge."""
    towards: Field = np.exp(-np.clip(depth, 0.0, None) / 0.9)
    return (center + (rim - center) * towards) * _grainy(canvas, rng, 0.10)


def _lymphocyte(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    depth = _outline(canvas, rng, radius, uneven=0.29)
    if rng.random() < 0.35:
        depth = depth + fringe(canvas, rng, length_um=0.45, hairs=46, spread=rng.uniform(0.6, 2.0))
    x, y = _away(rng, radius * rng.uniform(0.0, 0.12))
    disc = Disc(x, y, radius * rng.uniform(0.82, 0.97))
    shape = np.minimum(oval(canvas, rng, disc, aspect=rng.uniform(1.0, 1.2), uneven_um=0.29), depth - 0.08)
    nucleus = paint_nucleus(canvas, rng, shape, Chromatin(rng.uniform(0.78, 1.05), contrast=0.18, gaps=0.5))
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.3, 0.75), rng.uniform(0.6, 1.1))
    return _assemble(edge(depth, 0.18), nucleus, {Structure.RNA: rna})


def _reactive(canvas: Canvas, rng: np.random.Generator, radius: float, red_cells: list[Disc]) -> Leukocyte:
    depth = _molded(canvas, _outline(canvas, rng, radius, uneven=1.04), red_cells)
    x, y = _away(rng, radius * rng.uniform(0.08, 0.28))
    disc = Disc(x, y, radius * rng.uniform(0.5, 0.6))
    shape = oval(canvas, rng, disc, aspect=rng.uniform(1.05, 1.35), uneven_um=0.52)
    kind = Chromatin(rng.uniform(0.7, 0.9), open=0.10)
    nucleus = paint_nucleus(canvas, rng, intersect(shape, depth - 0.4, 0.4), kind)
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.3, 0.5), rng.uniform(0.9, 1.4))
    granules = 0.6 * _dust(canvas, rng, 0.96)
    return _assemble(edge(depth, 0.2), nucleus, {Structure.RNA: rna, Structure.AZUROPHIL: granules})


def _abnormal(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    hairy = rng.random() < 0.4
    depth = _outline(canvas, rng, radius, uneven=0.46)
    x, y = _away(rng, radius * rng.uniform(0.0, 0.12))
    disc = Disc(x, y, radius * (rng.uniform(0.66, 0.76) if hairy else rng.uniform(0.78, 0.88)))
    shape = oval(canvas, rng, disc, aspect=rng.uniform(1.05, 1.3), uneven_um=0.42)
    if hairy:
        depth = depth + fringe(canvas, rng, length_um=rng.uniform(0.6, 1.1), hairs=40, spread=rng.uniform(0.9, 2.2))
    else:
        shape = cleft(canvas, rng, shape, disc)
    kind = Chromatin(rng.uniform(0.72, 0.92), clumps_um=0.3, contrast=0.2, open=0.10, rim=0.2)
    nucleus = paint_nucleus(canvas, rng, intersect(shape, depth - 0.2, 0.3), kind)
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.7))
    return _assemble(edge(depth, 0.18), nucleus, {Structure.RNA: rna})


def _blast(canvas: Canvas, rng: np.random.Generator, radius: float, red_cells: list[Disc]) -> Leukocyte:
    depth = _molded(canvas, _outline(canvas, rng, radius, uneven=0.63), red_cells)
    x, y = _away(rng, radius * rng.uniform(0.02, 0.12))
    disc = Disc(x, y, radius * rng.uniform(0.78, 0.87))
    shape = intersect(oval(canvas, rng, disc, aspect=rng.uniform(1.0, 1.2), uneven_um=0.46), depth - 0.25, 0.4)
    kind = Chromatin(rng.uniform(0.5, 0.66), clumps_um=0.21, contrast=0.12, gaps=0.45, open=0.19, rim=0.25)
    nucleus = paint_nucleus(canvas, rng, shape, kind)
    nucleoli = canvas.zeros()
    for _ in range(int(rng.integers(1, 4))):
        dx, dy = _away(rng, disc.radius * rng.uniform(0.1, 0.62))
        spot = roughen(ellipse(canvas, Disc(x + dx, y + dy, rng.uniform(0.55, 1.0))), canvas, rng, 0.17, 0.8)
        np.maximum(nucleoli, edge(spot, 0.3), out=nucleoli)
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.6, 0.9), rng.uniform(0.9, 1.3))
    cell = _assemble(edge(depth, 0.18), nucleus, {Structure.RNA: rna})
    cell.layers[Structure.CHROMATIN] *= 1.0 - rng.uniform(0.5, 0.75) * nucleoli
    cell.layers[Structure.RNA] += 0.35 * nucleoli * nucleus.coverage
    return cell


@dataclass(frozen=True)
class Kind:
    """A class: the function that draws it, and its radius (mean and standard deviation, µm)."""

    paint: Painter
    radius_um: float
    spread_um: float


KINDS: Final = MappingProxyType(
    {
        "neutrophil": Kind(_neutrophil, 6.8, 0.4),
        "eosinophil": Kind(_eosinophil, 6.7, 0.4),
        "basophil": Kind(_basophil, 6.1, 0.4),
        "monocyte": Kind(_monocyte, 7.5, 0.5),
        "lymphocyte": Kind(_lymphocyte, 4.6, 0.4),
        "reactive_lymphocyte": Kind(_reactive, 7.3, 0.5),
        "abnormal_lymphocyte": Kind(_abnormal, 5.7, 0.45),
        "blast": Kind(_blast, 6.5, 0.6),
    }
)
