"""The surroundings of the leukocyte: red cells and platelets."""

import math

import numpy as np

from hemabridge.data.simulate.canvas import FIELD_UM, Canvas, Field
from hemabridge.data.simulate.geometry import Disc, edge, ellipse, roughen

_ATTEMPTS = 40


def place_red_cells(rng: np.random.Generator, leukocyte_um: float, crowding: float) -> list[Disc]:
    """Place red cells at random around a leukocyte of radius `leukocyte_um`; they may touch and overlap a little.

    Args:
        rng: random generator.
        leukocyte_um: radius that stays free in the center.
        crowding: 0 (sparse) to 1 (dense), the fraction of the attempts that are made.
    """
    reach = FIELD_UM / 2 + 3.0
    cells: list[Disc] = []
    for _ in range(int(_ATTEMPTS * crowding)):
        cell = Disc(rng.uniform(-reach, reach), rng.uniform(-reach, reach), rng.normal(3.65, 0.22))
        overlap_um = 1.6 if rng.random() < 0.12 else 0.0
        free = all(math.hypot(cell.x - o.x, cell.y - o.y) > cell.radius + o.radius - overlap_um for o in cells)
        if free and math.hypot(cell.x, cell.y) > leukocyte_um + cell.radius - 0.25:
            cells.append(cell)
    return cells


def paint_red_cells(canvas: Canvas, rng: np.random.Generator, cells: list[Disc]) -> Field:
    """Return the thickness of all red cells: a dark ring around a paler center, 1.0 in the ring.

    A dried red cell is a plateau with a slightly thicker rim and a dimple. The depth of the dimple varies between
    cells, and more between places of the film.
    """
    total = canvas.zeros()
    warp = canvas.noise(rng, 3.2) * 0.31
    cloud = 1.0 + 0.04 * canvas.noise(rng, 0.5) + 0.04 * canvas.noise(rng, 1.5)
    slide_pallor = rng.uniform(0.3, 0.95)
    for cell in cells:
        total += paint_red_cell(canvas, rng, cell, warp, slide_pallor)
    return total * cloud


def paint_red_cell(canvas: Canvas, rng: np.random.Generator, cell: Disc, warp: Field, slide_pallor: float) -> Field:
    """Return the thickness of one red cell, 1.0 in its ring.

    Args:
        canvas: the grid.
        rng: random generator.
        cell: center and radius.
        warp: how far its edge is moved outwards, in µm.
        slide_pallor: mean depth of the dimples in this place of the film, 0..1.
    """
    aspect, angle = 1.0 + abs(rng.normal(0.0, 0.12)), rng.uniform(0, math.pi)
    pallor, reach = min(max(rng.normal(slide_pallor, 0.15), 0.05), 0.9), rng.uniform(0.32, 0.6)
    depth = ellipse(canvas, cell, aspect=aspect, angle=angle) + warp
    center = edge(depth - cell.radius * (1.0 - reach), cell.radius * reach * 0.5)
    rim = np.exp(-(((depth - 0.35) / 0.45) ** 2))
    thickness: Field = rng.normal(0.97, 0.06) * (1.0 - pallor * center + 0.10 * rim) * edge(depth, 0.16)
    return thickness


def paint_platelets(canvas: Canvas, rng: np.random.Generator, red_cells: list[Disc], leukocyte_um: float) -> Field:
    """Return the thickness of the granules of 0 to 2 platelets, where there is space for them."""
    total = canvas.zeros()
    for _ in range(int(rng.choice(3, p=(0.55, 0.33, 0.12)))):
        platelet = Disc(rng.uniform(-8.0, 8.0), rng.uniform(-8.0, 8.0), rng.uniform(0.8, 1.25))
        clear = all(math.hypot(platelet.x - c.x, platelet.y - c.y) > c.radius + platelet.radius for c in red_cells)
        if not clear or math.hypot(platelet.x, platelet.y) < leukocyte_um + platelet.radius + 0.3:
            continue
        total += paint_platelet(canvas, rng, platelet)
    return total


def paint_platelet(canvas: Canvas, rng: np.random.Generator, platelet: Disc) -> Field:
    """Return the thickness of the granules of one platelet."""
    depth = ellipse(canvas, platelet, aspect=rng.uniform(1.0, 1.5), angle=rng.uniform(0, math.pi))
    depth = roughen(depth, canvas, rng, 0.33, 0.7)
    granules = np.clip(1.3 + 1.67 * canvas.noise(rng, 0.35), 0.1, None)
    thickness: Field = edge(depth, 0.3) * 0.35 + granules * edge(depth - 0.35, 0.35)
    return thickness
