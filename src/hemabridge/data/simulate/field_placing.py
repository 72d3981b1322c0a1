"""Placing of the cells of a simulated field: leukocytes first, then red cells and platelets between them."""

import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from hemabridge.data.simulate.field_plan import AREAS, OVERSAMPLING, Area, FieldObject, FieldPlan, FieldSpec
from hemabridge.data.simulate.leukocytes import KINDS

RED_CELL_RADIUS_UM: Final = (3.75, 0.22)
"""Mean and standard deviation: a red cell on a smear is 7 to 8 µm wide (Bain 2015)."""

_CUT = 0.12  # share of the leukocytes that are placed at the border


_TOUCHING = 0.2  # share of the leukocytes that are placed beside the last one


_ATTEMPTS = 60  # for one cell


def plan_field(spec: FieldSpec, index: int) -> FieldPlan:
    """Return field number `index` of a set; it does not depend on how many fields the set has."""
    rng = np.random.default_rng((spec.seed, zlib.crc32(b"field"), index))
    shares = np.array([AREAS[name].share for name in spec.areas])
    name = spec.areas[int(rng.choice(len(shares), p=shares / shares.sum()))]
    place = _Placing(spec, rng)
    _place_leukocytes(place, AREAS[name])
    _place_others(place, AREAS[name])
    _place_red_cells(place, AREAS[name])
    _place_platelets(place)
    return FieldPlan(
        spec,
        index,
        name,
        pallor=rng.uniform(0.3, 0.95),
        vignette=rng.uniform(0.0, 0.25),
        brightest=(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)),
        objects=tuple(place.objects),
    )


class _Placing:
    """A field that is being filled."""

    def __init__(self, spec: FieldSpec, rng: np.random.Generator) -> None:
        self.spec, self.rng = spec, rng
        self.objects: list[FieldObject] = []

    def random_point(self, margin_um: float) -> tuple[float, float]:
        """Return a point of the field, or up to `margin_um` outside of it."""
        width, height = self.spec.size_um
        return self.rng.uniform(-margin_um, width + margin_um), self.rng.uniform(-margin_um, height + margin_um)

    def gap_um(self, x: float, y: float, radius: float, *kinds: str) -> float:
        """Return the smallest distance between the edges of a disc and of the objects that are not of `kinds`."""
        gaps = (math.hypot(x - o.x_um, y - o.y_um) - radius - o.radius_um for o in self.objects if o.kind not in kinds)
        return min(gaps, default=math.inf)

    def put(self, kind: str, x: float, y: float, radius: float, cluster: int = 0) -> None:
        step = self.spec.um_per_px / OVERSAMPLING
        self.objects.append(
            FieldObject(kind, round(x / step) * step, round(y / step) * step, radius, cluster, len(self.objects))
        )

    def try_put(
        self, kind: str, radius: float, least_gap_um: float, point: Callable[[], tuple[float, float]], *over: str
    ) -> bool:
        """Put an object at the first of some points that is far enough from all objects not of the kinds `over`."""
        for _ in range(_ATTEMPTS):
            x, y = point()
            if self.gap_um(x, y, radius, *over) > least_gap_um:
                self.put(kind, x, y, radius)
                return True
        return False


def _place_leukocytes(place: _Placing, area: Area) -> None:
    rng, spec = place.rng, place.spec
    names = list(spec.prevalence)
    shares = np.array([spec.prevalence[name] for name in names], dtype=float)
    clusters = 0
    for _ in range(int(rng.poisson(spec.leukocytes * area.leukocytes))):
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        kind = KINDS[name]
        radius = float(np.clip(rng.normal(kind.radius_um, kind.spread_um), 0.8 * kind.radius_um, 1.2 * kind.radius_um))
        if place.objects and rng.random() < _TOUCHING and _touch_last(place, name, radius, clusters + 1):
            clusters = max(clusters, place.objects[-1].cluster)
            continue
        cut = rng.random() < _CUT
        point = partial(_at_border, place, radius) if cut else partial(place.random_point, 0)
        if not place.try_put(name, radius, 1.5, point):
            # Large cells find no room more often than small ones: without this a crowded field would lack them.
            place.put(
                name,
                *max((point() for _ in range(_ATTEMPTS)), key=lambda at: place.gap_um(at[0], at[1], radius)),
                radius,
            )


def _at_border(place: _Placing, radius: float) -> tuple[float, float]:
    """Return a point from which a cell reaches over the border of the field; most lie inside of it."""
    width, height = place.spec.size_um
    inwards = place.rng.uniform(-0.3, 0.8) * radius
    x, y = place.random_point(0)
    side = int(place.rng.integers(4))
    return ((inwards, y), (width - inwards, y), (x, inwards), (x, height - inwards))[side]


def _touch_last(place: _Placing, name: str, radius: float, cluster: int) -> bool:
    """Put a leukocyte beside the last one, if it is then inside of the field and touches no other."""
    last = place.objects[-1]
    for _ in range(_ATTEMPTS):
        angle = place.rng.uniform(0, 2 * math.pi)
        away = last.radius_um + radius - place.rng.uniform(0.0, 0.6)
        x, y = last.x_um + away * math.cos(angle), last.y_um + away * math.sin(angle)
        width, height = place.spec.size_um
        others = [o for o in place.objects[:-1] if math.hypot(x - o.x_um, y - o.y_um) < radius + o.radius_um + 1.0]
        if 0 < x < width and 0 < y < height and not others:
            number = last.cluster or cluster
            place.objects[-1] = FieldObject(last.kind, last.x_um, last.y_um, last.radius_um, number, last.number)
            place.put(name, x, y, radius, number)
            return True
    return False


def _place_others(place: _Placing, area: Area) -> None:
    """Put smudge cells and clumps of platelets, unless the area is empty."""
    rng = place.rng
    if area.leukocytes == 0:
        return
    for kind, mean, low, high in (("smudge", 0.12, 5.0, 7.0), ("platelet_clump", 0.15, 2.2, 4.5)):
        for _ in range(int(rng.poisson(mean))):
            place.try_put(kind, rng.uniform(low, high), 1.0, lambda: place.random_point(2.0))


def _place_red_cells(place: _Placing, area: Area) -> None:
    rng = place.rng
    width, height = place.spec.size_um
    wanted = round(rng.uniform(*area.red_cells) * width * height / 1000)
    chained = round(area.chained * wanted)
    placed = 0
    while placed < chained:
        placed += max(1, _place_chain(place))
    for _ in range(wanted - placed):
        overlap_um = 1.6 if rng.random() < 0.12 else area.overlap_um
        radius = rng.normal(*RED_CELL_RADIUS_UM)
        for _ in range(_ATTEMPTS):
            x, y = place.random_point(3.0)
            if _is_free(place, x, y, radius, overlap_um):
                place.put("red_cell", x, y, radius)
                break


def _is_free(place: _Placing, x: float, y: float, radius: float, overlap_um: float) -> bool:
    red = [o for o in place.objects if o.kind == "red_cell"]
    apart = all(math.hypot(x - o.x_um, y - o.y_um) > radius + o.radius_um - overlap_um for o in red)
    return apart and place.gap_um(x, y, radius, "red_cell") > -0.25


def _place_chain(place: _Placing) -> int:
    """Put a rouleau, a chain of overlapping red cells; return their number."""
    rng = place.rng
    x, y = place.random_point(3.0)
    angle, placed = rng.uniform(0, 2 * math.pi), 0
    for _ in range(int(rng.integers(3, 9))):
        radius = rng.normal(*RED_CELL_RADIUS_UM)
        if place.gap_um(x, y, radius, "red_cell") > -0.25:
            place.put("red_cell", x, y, radius)
            placed += 1
        angle += rng.normal(0.0, 0.25)
        step = rng.uniform(3.6, 5.2)
        x, y = x + step * math.cos(angle), y + step * math.sin(angle)
    return placed


def _place_platelets(place: _Placing) -> None:
    """Put platelets between the red cells, a few of them on red cells, and grains of the stain anywhere."""
    rng = place.rng
    width, height = place.spec.size_um
    for _ in range(int(rng.poisson(width * height / 1000))):
        over = ("red_cell",) if rng.random() < 0.15 else ()
        place.try_put("platelet", rng.uniform(0.8, 1.4), 0.2, lambda: place.random_point(1.0), *over)
    for _ in range(int(rng.poisson(1.5))):
        place.put("debris", *place.random_point(0), rng.uniform(0.2, 0.5))
