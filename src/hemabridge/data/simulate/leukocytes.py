"""The classes of leukocyte, each painted as thickness maps of the structures that take up dye."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from hemabridge.data.simulate import nuclei
from hemabridge.data.simulate.canvas import Canvas, Field
from hemabridge.data.simulate.geometry import Disc, edge, ellipse, intersect, roughen
from hemabridge.data.simulate.nuclei import Chromatin
from hemabridge.data.simulate.stain import Structure

Layers = dict[Structure, Field]
"""Thickness of each structure that a cell has."""


@dataclass(frozen=True)
class Leukocyte:
    """One painted leukocyte: its layers and how far it reaches from the centre.

    Attributes:
        layers: thickness per structure.
        coverage: 0..1, where the cell lies.
    """

    layers: Layers
    coverage: Field


Painter = Callable[[Canvas, np.random.Generator, float, list[Disc]], Leukocyte]
"""Paints a leukocyte of the given radius (µm) among red cells."""


def _outline(canvas: Canvas, rng: np.random.Generator, radius: float, *, uneven: float, fine: float = 0.06) -> Field:
    disc = Disc(0.0, 0.0, radius)
    depth = ellipse(canvas, disc, aspect=1.0 + abs(rng.normal(0.0, 0.08)), angle=rng.uniform(0, math.pi))
    return roughen(roughen(depth, canvas, rng, uneven, 3.5), canvas, rng, fine, 0.6)


def _moulded(canvas: Canvas, depth: Field, red_cells: list[Disc]) -> Field:
    for cell in red_cells:
        depth = intersect(depth, -ellipse(canvas, Disc(cell.x, cell.y, cell.radius + 0.1)), 0.5)
    return depth


def _away(rng: np.random.Generator, distance: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * math.pi)
    return distance * math.cos(angle), distance * math.sin(angle)


def _neutrophil(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    depth = _outline(canvas, rng, radius, uneven=0.22)
    body = edge(depth, 0.2)
    nucleus = nuclei.segmented(canvas, rng, int(rng.choice((2, 3, 4, 5), p=(0.15, 0.42, 0.33, 0.10))), radius)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(1.0, 0.62, 0.16, 0.55, 0.15))
    mottle = canvas.noise(rng, 0.45)
    dust = edge(mottle + canvas.noise(rng, 0.28) - 1.7, 0.7)
    ground = 0.95 + 0.16 * mottle + 0.12 * canvas.noise(rng, 1.8)
    return Leukocyte(
        {
            Structure.CHROMATIN: chromatin,
            Structure.PROTEIN: body * ground,
            Structure.RNA: body * 0.06,
            Structure.AZUROPHIL: body * (0.12 + dust * rng.uniform(0.35, 0.9)),
        },
        body,
    )


def _eosinophil(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    depth = _outline(canvas, rng, radius, uneven=0.18)
    distance, mark = canvas.grains(rng, 0.62)
    depth = depth + 0.18 * (0.35 - distance)
    body = edge(depth, 0.2)
    nucleus = nuclei.segmented(canvas, rng, int(rng.choice((2, 3), p=(0.8, 0.2))), radius)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(0.92, 0.6, 0.14, 0.45, 0.12))
    bare = edge(canvas.noise(rng, 2.6) - rng.uniform(0.9, 2.4), 0.5)
    granules = edge(0.36 - distance, 0.16) * (0.6 + 0.55 * mark)
    over = 1.0 - 0.6 * np.clip(chromatin, 0.0, 1.0)
    return Leukocyte(
        {
            Structure.CHROMATIN: chromatin,
            Structure.PROTEIN: body * 0.35,
            Structure.RNA: body * (0.08 + 0.25 * bare),
            Structure.EOSINOPHIL: body * (0.3 + granules) * (1.0 - bare) * over,
        },
        body,
    )


def _basophil(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    depth = _outline(canvas, rng, radius, uneven=0.2)
    distance, mark = canvas.grains(rng, 0.8)
    size = 0.16 + 0.36 * mark
    kept = mark > rng.uniform(0.02, 0.4)
    granules = edge(size - distance, 0.14) * kept
    depth = np.maximum(depth, np.minimum(depth + 0.55, (size - distance) * kept))
    body = edge(depth, 0.18)
    nucleus = nuclei.segmented(canvas, rng, int(rng.choice((2, 3))), radius * 1.12)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(0.72, 0.8, 0.12, 0.3, 0.0))
    return Leukocyte(
        {
            Structure.CHROMATIN: chromatin * body,
            Structure.PROTEIN: body * 0.7,
            Structure.AZUROPHIL: body * 0.35,
            Structure.BASOPHIL: body * granules * rng.uniform(0.7, 1.0),
        },
        body,
    )


def _monocyte(canvas: Canvas, rng: np.random.Generator, radius: float, red_cells: list[Disc]) -> Leukocyte:
    depth = _moulded(canvas, _outline(canvas, rng, radius, uneven=0.55, fine=0.1), red_cells)
    body = edge(depth, 0.22)
    nucleus = intersect(nuclei.kidney(canvas, rng, radius * rng.uniform(0.62, 0.72)), depth - 0.3, 0.4)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(0.72, 0.55, 0.20, 0.4, 0.22))
    holes = canvas.zeros()
    for _ in range(int(rng.poisson(2.2))):
        x, y = _away(rng, radius * rng.uniform(0.35, 0.85))
        hole = ellipse(canvas, Disc(x, y, rng.uniform(0.25, 0.75)))
        np.maximum(holes, edge(hole, 0.18), out=holes)
    solid = 1.0 - 0.85 * holes
    mottle = canvas.noise(rng, 0.4)
    ground = 0.45 + 0.09 * mottle + 0.08 * canvas.noise(rng, 1.5)
    dust = edge(mottle + canvas.noise(rng, 0.3) - 2.2, 0.6)
    return Leukocyte(
        {
            Structure.CHROMATIN: chromatin * solid,
            Structure.RNA: body * ground * solid * rng.uniform(0.8, 1.25),
            Structure.PROTEIN: body * 0.1,
            Structure.AZUROPHIL: body * dust * solid * 0.5,
        },
        body,
    )


def _basophilic(canvas: Canvas, rng: np.random.Generator, depth: Field, centre: float, rim: float) -> Field:
    """Cytoplasm rich in RNA: `centre` thick inside, `rim` thick at the edge."""
    towards: Field = np.exp(-np.clip(depth, 0.0, None) / 0.9)
    mottle = 1.0 + 0.14 * canvas.noise(rng, 0.5) + 0.12 * canvas.noise(rng, 1.6)
    return edge(depth, 0.18) * (centre + (rim - centre) * towards) * mottle


def _lymphocyte(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    depth = _outline(canvas, rng, radius, uneven=0.16, fine=0.14)
    x, y = _away(rng, radius * rng.uniform(0.0, 0.08))
    nucleus = nuclei.oval(canvas, rng, Disc(x, y, radius * rng.uniform(0.80, 0.9)), aspect=1.1, uneven_um=0.15)
    nucleus = np.minimum(nucleus, depth - 0.1)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(1.02, 0.75, 0.15, 0.3, 0.12))
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.5, 0.8), rng.uniform(0.7, 1.1))
    return Leukocyte({Structure.CHROMATIN: chromatin, Structure.RNA: rna}, edge(depth, 0.18))


def _reactive(canvas: Canvas, rng: np.random.Generator, radius: float, red_cells: list[Disc]) -> Leukocyte:
    depth = _moulded(canvas, _outline(canvas, rng, radius, uneven=0.6), red_cells)
    x, y = _away(rng, radius * rng.uniform(0.08, 0.25))
    disc = Disc(x, y, radius * rng.uniform(0.5, 0.6))
    nucleus = nuclei.oval(canvas, rng, disc, aspect=rng.uniform(1.05, 1.35), uneven_um=0.3)
    nucleus = intersect(nucleus, depth - 0.4, 0.4)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(0.8, 0.7, 0.18, 0.4, 0.15))
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.35, 0.55), rng.uniform(0.95, 1.4))
    return Leukocyte({Structure.CHROMATIN: chromatin, Structure.RNA: rna}, edge(depth, 0.18))


def _abnormal(canvas: Canvas, rng: np.random.Generator, radius: float, _: list[Disc]) -> Leukocyte:
    hairy = rng.random() < 0.4
    depth = _outline(canvas, rng, radius, uneven=0.25)
    share = rng.uniform(0.62, 0.72) if hairy else rng.uniform(0.76, 0.86)
    x, y = _away(rng, radius * rng.uniform(0.0, 0.12))
    disc = Disc(x, y, radius * share)
    nucleus = nuclei.oval(canvas, rng, disc, aspect=rng.uniform(1.05, 1.3), uneven_um=0.22)
    if hairy:
        tufts = np.clip(canvas.noise(rng, 0.55) + 0.5 * canvas.noise(rng, 2.5), -0.4, None)
        depth = depth + 0.42 * tufts
    else:
        nucleus = nuclei.cleft(canvas, rng, nucleus, disc)
    nucleus = intersect(nucleus, depth - 0.2, 0.3)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(0.9, 0.6, 0.18, 0.45, 0.18))
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.8))
    return Leukocyte({Structure.CHROMATIN: chromatin, Structure.RNA: rna}, edge(depth, 0.18))


def _blast(canvas: Canvas, rng: np.random.Generator, radius: float, red_cells: list[Disc]) -> Leukocyte:
    depth = _moulded(canvas, _outline(canvas, rng, radius, uneven=0.35), red_cells)
    x, y = _away(rng, radius * rng.uniform(0.02, 0.12))
    disc = Disc(x, y, radius * rng.uniform(0.78, 0.86))
    nucleus = nuclei.oval(canvas, rng, disc, aspect=rng.uniform(1.0, 1.2), uneven_um=0.25)
    nucleus = intersect(nucleus, depth - 0.25, 0.4)
    chromatin = nuclei.stain_chromatin(canvas, rng, nucleus, Chromatin(0.58, 0.36, 0.13, 0.15, 0.14))
    nucleoli = canvas.zeros()
    for _ in range(int(rng.integers(1, 4))):
        dx, dy = _away(rng, disc.radius * rng.uniform(0.1, 0.6))
        spot = Disc(x + dx, y + dy, rng.uniform(0.5, 0.95))
        np.maximum(nucleoli, edge(roughen(ellipse(canvas, spot), canvas, rng, 0.1, 0.8), 0.3), out=nucleoli)
    rna = _basophilic(canvas, rng, depth, rng.uniform(0.7, 1.0), rng.uniform(0.9, 1.3))
    pale = 1.0 - rng.uniform(0.35, 0.6) * nucleoli
    return Leukocyte({Structure.CHROMATIN: chromatin * pale, Structure.RNA: rna}, edge(depth, 0.18))


@dataclass(frozen=True)
class Kind:
    """A class: how it is painted, and its radius (mean and standard deviation, µm)."""

    paint: Painter
    radius_um: float
    spread_um: float


KINDS: Final = MappingProxyType(
    {
        "neutrophil": Kind(_neutrophil, 6.5, 0.45),
        "eosinophil": Kind(_eosinophil, 6.4, 0.45),
        "basophil": Kind(_basophil, 5.9, 0.45),
        "monocyte": Kind(_monocyte, 7.3, 0.5),
        "lymphocyte": Kind(_lymphocyte, 4.5, 0.35),
        "reactive_lymphocyte": Kind(_reactive, 7.2, 0.5),
        "abnormal_lymphocyte": Kind(_abnormal, 5.7, 0.45),
        "blast": Kind(_blast, 6.4, 0.6),
    }
)
