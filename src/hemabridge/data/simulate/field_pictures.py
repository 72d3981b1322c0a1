"""Simulated fields of a microscope, painted and photographed, with the exact place of each object."""

import math
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from hemabridge.data.simulate.camera import digitize, expose, record
from hemabridge.data.simulate.canvas import Canvas, Field
from hemabridge.data.simulate.field_plan import AREAS, OVERSAMPLING, FieldObject, FieldPlan
from hemabridge.data.simulate.geometry import Disc, edge, ellipse, roughen
from hemabridge.data.simulate.hospitals import Hospital
from hemabridge.data.simulate.leukocytes import KINDS
from hemabridge.data.simulate.simulated_cells import STAIN_SPREAD
from hemabridge.data.simulate.stain import Structure, transmittance
from hemabridge.data.simulate.surroundings import paint_platelet, paint_red_cell
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.imaging.threads import ONE_BLAS_THREAD

_MARGIN_UM: Final = 4.0  # between the radius of an object and the edge of the canvas on which it is painted
_BAND: Final = 256  # rows of the grid that are stained at once
_HALF: Final = 0.5  # thickness of a red cell where its edge is steepest; its pale center may be thinner
_LEAST_VISIBLE: Final = 0.02


@dataclass(frozen=True)
class TrueObject:
    """What is known of one object.

    Attributes:
        kind: as that of `FieldObject`.
        x, y: center in pixels, from the left and top edge of the field; outside of it for some cut by the border.
        diameter_um: of the disc with the area of the whole object.
        border: whether the border of the field cuts it.
        cluster: number of the group of leukocytes that touch; 0 for one that is alone.
        visible: share of its area inside of the field, above 0.
    """

    kind: str
    x: float
    y: float
    diameter_um: float
    border: bool
    cluster: int
    visible: float


@dataclass(frozen=True)
class PaintedField:
    """A field before it is stained.

    Attributes:
        plan: what lies on it.
        thickness: of each structure, float32[structures, Q, P], on the grid of the painting.
        objects: what can be seen of it.
    """

    plan: FieldPlan
    thickness: NDArray[np.float32]
    objects: tuple[TrueObject, ...]


@ONE_BLAS_THREAD
def paint_field(plan: FieldPlan) -> PaintedField:
    """Paint the thickness of all structures of a field, the same in every hospital."""
    spec = plan.spec
    shape = spec.height_px * OVERSAMPLING, spec.width_px * OVERSAMPLING
    maps = np.zeros((len(Structure), *shape), dtype=np.float32)
    painted = []
    for one in sorted(plan.objects, key=lambda o: _ORDER.get(o.kind, _LEUKOCYTE)):
        canvas = _canvas(one, spec.um_per_px / OVERSAMPLING)
        rng = np.random.default_rng((spec.seed, zlib.crc32(b"object"), plan.index, one.number))
        layers, coverage = _paint(canvas, rng, one, plan)
        there, here = _windows(one, canvas, shape)
        if there is None or not coverage.any():  # the granules of a small platelet may all be too thin to see
            continue
        own = coverage[here]
        if one.kind not in _ADDED:
            maps[:, there[0], there[1]] *= 1.0 - own
        for structure, layer in layers.items():
            maps[structure, there[0], there[1]] += layer[here]
        whole = float(coverage.sum())
        visible = float(own.sum()) / whole
        if visible > _LEAST_VISIBLE:
            diameter = 2 * math.sqrt(whole / math.pi) / canvas.px_per_um
            x, y = one.x_um / spec.um_per_px, one.y_um / spec.um_per_px
            painted.append(TrueObject(one.kind, x, y, diameter, visible < 0.999, one.cluster, visible))
    painted.sort(key=lambda o: (o.y, o.x))
    return PaintedField(plan, maps, tuple(painted))


@ONE_BLAS_THREAD
def photograph_field(field: PaintedField, hospital: Hospital, *, noise: bool = True) -> UInt8Image:
    """Return the picture of a field in a hospital, uint8[H, W, 3], RGB.

    Args:
        field: what is stained and photographed.
        hospital: its stain and camera.
        noise: sensor noise and JPEG. Without, the picture under the target hospital is the ground truth of re-staining.
    """
    plan = field.plan
    blur = math.hypot(hospital.camera.blur_um, AREAS[plan.area].out_of_focus_um)
    camera = hospital.camera.model_copy(update={"blur_um": blur})
    bands = [
        transmittance(np.ascontiguousarray(field.thickness[:, top : top + _BAND]), hospital.bath)
        for top in range(0, field.thickness.shape[1], _BAND)
    ]
    picture = expose(
        np.concatenate(bands, axis=1),
        camera,
        plan.spec.width_px,
        width_um=plan.spec.size_um[0],
        light=_lamp_light(plan),
    )
    if not noise:
        return digitize(picture)
    own = zlib.crc32(f"{hospital.name}/{plan.field_id}".encode())
    return record(picture, camera, np.random.default_rng(own))


_ORDER: Final = {"red_cell": 0, "smudge": 1, "platelet": 3, "platelet_clump": 3, "debris": 4}
_LEUKOCYTE: Final = 2
_ADDED: Final = {"red_cell", "platelet", "platelet_clump", "debris"}
"""Kinds that lie over others: what is below still absorbs light."""


def _canvas(one: FieldObject, step_um: float) -> Canvas:
    pixels = 2 * math.ceil((one.radius_um + _MARGIN_UM) / step_um)
    return Canvas(pixels, pixels * step_um)


def _windows(
    one: FieldObject, canvas: Canvas, shape: tuple[int, int]
) -> tuple[tuple[slice, slice] | None, tuple[slice, slice]]:
    """Return the part of the field that a canvas covers, None if there is none, and that part of the canvas."""
    half = canvas.size_px // 2
    there, here = [], []
    for middle_um, length in ((one.y_um, shape[0]), (one.x_um, shape[1])):
        start = round(middle_um * canvas.px_per_um) - half
        first, last = max(0, start), min(length, start + canvas.size_px)
        there.append(slice(first, last))
        here.append(slice(first - start, last - start))
    inside = all(part.start < part.stop for part in there)
    return (there[0], there[1]) if inside else None, (here[0], here[1])


def _paint(
    canvas: Canvas, rng: np.random.Generator, one: FieldObject, plan: FieldPlan
) -> tuple[dict[Structure, Field], Field]:
    """Return the thickness of the structures of one object, and where it is, 0..1."""
    if one.kind == "red_cell":
        warp = canvas.noise(rng, 3.2) * 0.31
        cloud = 1.0 + 0.04 * canvas.noise(rng, 0.5) + 0.04 * canvas.noise(rng, 1.5)
        red = paint_red_cell(canvas, rng, Disc(0.0, 0.0, one.radius_um), warp, plan.pallor) * cloud
        return {Structure.RED_CELL: red}, np.asarray(binary_fill_holes(red > _HALF), dtype=np.float32)
    if one.kind in ("platelet", "platelet_clump"):
        granules = canvas.zeros()
        for disc in _platelets(rng, one):
            np.maximum(granules, paint_platelet(canvas, rng, disc), out=granules)
        return {Structure.AZUROPHIL: granules}, np.asarray(granules > 0.1, dtype=np.float32)
    if one.kind == "debris":
        grain = edge(roughen(ellipse(canvas, Disc(0.0, 0.0, one.radius_um)), canvas, rng, 0.1, 0.4), 0.15)
        return {Structure.BASOPHIL: grain * rng.uniform(0.4, 1.2)}, grain
    if one.kind == "smudge":
        return _smudge(canvas, rng, one)
    cell = KINDS[one.kind].paint(canvas, rng, one.radius_um, _red_cells_around(one, plan))
    scale = {structure: math.exp(rng.normal(0.0, STAIN_SPREAD)) for structure in cell.layers}
    layers: dict[Structure, Field] = {
        structure: np.clip(layer, 0.0, None) * scale[structure] for structure, layer in cell.layers.items()
    }
    return layers, cell.coverage


def _platelets(rng: np.random.Generator, one: FieldObject) -> list[Disc]:
    """Return one platelet, or those of a clump."""
    if one.kind == "platelet":
        return [Disc(0.0, 0.0, one.radius_um)]
    discs = []
    for _ in range(max(4, round(1.1 * one.radius_um**2))):
        angle, away = rng.uniform(0, 2 * math.pi), one.radius_um * math.sqrt(rng.uniform(0.0, 1.0))
        discs.append(Disc(away * math.cos(angle), away * math.sin(angle), rng.uniform(0.8, 1.3)))
    return discs


def _smudge(canvas: Canvas, rng: np.random.Generator, one: FieldObject) -> tuple[dict[Structure, Field], Field]:
    """Return a burst nucleus: pale chromatin without an edge, in streaks."""
    disc = Disc(0.0, 0.0, one.radius_um)
    depth = ellipse(canvas, disc, aspect=rng.uniform(1.0, 1.6), angle=rng.uniform(0, math.pi))
    body = edge(roughen(roughen(depth, canvas, rng, 1.1, 3.0), canvas, rng, 0.3, 0.8), 1.2)
    streaks = np.clip(1.0 + 0.5 * canvas.noise(rng, 1.2) + 0.25 * canvas.noise(rng, 0.5), 0.1, None)
    return {Structure.CHROMATIN: body * streaks * rng.uniform(0.18, 0.3)}, body


def _red_cells_around(one: FieldObject, plan: FieldPlan) -> list[Disc]:
    """Return the red cells beside a leukocyte, in µm from its center."""
    near = [Disc(o.x_um - one.x_um, o.y_um - one.y_um, o.radius_um) for o in plan.objects if o.kind == "red_cell"]
    return [disc for disc in near if math.hypot(disc.x, disc.y) < one.radius_um + disc.radius + 1.0]


def _lamp_light(plan: FieldPlan) -> NDArray[np.float32]:
    """Return the light of the lamp in each pixel, float32[H, W]: it falls off with the square of the distance."""
    spec = plan.spec
    across = (np.arange(spec.width_px, dtype=np.float32) + 0.5) / spec.width_px - plan.brightest[0]
    down = (np.arange(spec.height_px, dtype=np.float32) + 0.5) / spec.height_px - plan.brightest[1]
    farthest = sum(max(share, 1 - share) ** 2 for share in plan.brightest)
    away = (down[:, None] ** 2 + across[None, :] ** 2) / np.float32(farthest)
    return np.asarray(1.0 - np.float32(plan.vignette) * away, dtype=np.float32)
