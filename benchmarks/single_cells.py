"""Are images found that show no single leukocyte? Run `python benchmarks/single_cells.py`.

Four laboratories in turn are left out: the limits are chosen on the cells of the other three, and scored on the cells
and the other pictures of the one that was left out. Of each measure the limit is the one that 1 in 200 cells of one of
the laboratories exceeds, and no more of any; the share `between` is not chosen, but geometry. Pictures without a single
leukocyte choose no limit:

- real: squares around annotated red cells and platelets of BCCD, with a leukocyte in the square or without, and between
  two of its leukocytes that touch; corners of the images of Clinic and Raabin-WBC that lie beside the leukocyte;
- simulated: squares around smudges, clumps of platelets, platelets, red cells, empty glass, and between two leukocytes
  that touch, in fields of every simulated hospital.

The second table has the limits of the program, and the shares of cells that they take out and of other pictures that
they find, also of pictures that are cut to the square of the crop. CPU milliseconds per picture come last.
"""

import argparse
import csv
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hemabridge.data.listing import list_images
from hemabridge.data.simulate import CLASSES, HOSPITALS, FieldSpec, paint_field, photograph_field, plan_field, render
from hemabridge.data.simulate import list_cells as simulated_cells
from hemabridge.data.simulate.field_pictures import PaintedField
from hemabridge.data.simulate.field_plan import FieldObject
from hemabridge.data.simulate.leukocytes import KINDS
from hemabridge.fields.single_cell import (
    BETWEEN,
    CROP_UM,
    EMPTY,
    RAGGED,
    SMALL,
    CellLimits,
    SeenObject,
    reason_of,
    seen_objects,
)
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import crop_center
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.sampling import evenly_spaced

CROPS_PX = {"clinic": 180, "tecom": 88, "raabin": 297, "bccd": 217}
"""Laboratories, and the side of the square around a cell in pixels of their images."""
CELLS = "single leukocytes"
SHARE = 1 / 200
"""Share of a laboratory's cells beyond the limit of one measure."""
NEAR_UM = 6.0
"""Distance from the middle within which a nucleus is the cell's own."""
LEAST_UM2 = 10.0
"""Smallest size of an object that may be a nucleus, where limits are chosen."""
AROUND = 1.5
"""Side of a picture that is cut from a field, in sides of the crop."""
FIELD = FieldSpec(seed=31, leukocytes=5, width_px=800, height_px=600, um_per_px=0.11, areas=("monolayer", "sparse"))
SIMULATED_CROP_PX = round(CROP_UM / FIELD.um_per_px)
CLINIC_CORNERS = 210

_SHORT = {"": "", EMPTY: "empty", SMALL: "small", BETWEEN: "between", RAGGED: "ragged"}

Seen: TypeAlias = tuple[SeenObject, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture: where it is from, what it shows, and the side of the square around a cell in its pixels."""

    place: str
    what: str
    image: UInt8Image
    crop_px: int


@dataclass(frozen=True)
class Case:
    """The same without the picture: the stained objects of the whole picture, and of its central square."""

    place: str
    what: str
    whole: Seen
    square: Seen


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--most", type=int, default=10**9, help="number of cells of a laboratory's class")
    parser.add_argument("--fields", type=int, default=20, help="number of simulated fields of each kind")
    given = parser.parse_args()
    cases: list[Case] = []
    spent = 0.0
    for shown in chain(real_cells(given.data, given.most), real_others(given.data), simulated(given.fields)):
        begun = time.process_time()
        whole = seen_objects(shown.image, shown.crop_px)
        spent += time.process_time() - begun
        square = crop_center(shown.image, min(shown.crop_px, *shown.image.shape[:2]))
        cases.append(Case(shown.place, shown.what, whole, seen_objects(square, shown.crop_px)))
    _print_left_out(cases)
    _print_own(cases)
    print(f"\n{1000 * spent / len(cases):.1f} ms of CPU per picture")


def _print_left_out(cases: Sequence[Case]) -> None:
    print("| left out | limits of the others | cells | taken out | other pictures | found |")
    print("| --- | --- | --- | --- | --- | --- |")
    for left_out in CROPS_PX:
        limits = chosen([case for case in cases if case.what == CELLS and case.place in set(CROPS_PX) - {left_out}])
        own = [case for case in cases if case.place == left_out]
        cells, others = ([case for case in own if (case.what == CELLS) is wanted] for wanted in (True, False))
        words = f"{limits.away_um:.1f} um, {limits.least_size_um2:.1f} um2, {limits.most_ragged:.2f}"
        found = f"{len(others)} | {_share(others, limits):.3f}" if others else " | "
        print(f"| {left_out} | {words} | {len(cells)} | {_share(cells, limits):.3f} | {found} |")


def _print_own(cases: Sequence[Case]) -> None:
    print("\n" + ", ".join(f"{one.name} {getattr(CellLimits(), one.name)}" for one in fields(CellLimits)))
    print("| place | shows | pictures | no single leukocyte | cut to the crop | worst hospital | reasons |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in cases:
        groups["simulated" if case.place in HOSPITALS else case.place, case.what].append(case)
    for (place, what), own in groups.items():
        rates = [_share([case for case in own if case.place == name], CellLimits()) for name in {c.place for c in own}]
        worst = (max if what == CELLS else min)(rates)
        reasons = Counter(_SHORT[reason_of(case.whole, CellLimits())] for case in own)
        told = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common() if reason)
        square = _share([replace(case, whole=case.square) for case in own], CellLimits())
        print(
            f"| {place} | {what} | {len(own)} | {_share(own, CellLimits()):.3f} | {square:.3f} | {worst:.2f} | {told} |"
        )


def _share(cases: Sequence[Case], limits: CellLimits) -> float:
    return float(np.mean([reason_of(case.whole, limits) != "" for case in cases]))


def chosen(cells: Sequence[Case]) -> CellLimits:
    """Return the limits that at most `SHARE` of the cells of each laboratory are beyond."""
    measures = defaultdict(list)
    for case in cells:
        nuclei = [one for one in case.whole if one.size_um2 >= LEAST_UM2]
        near = [one for one in nuclei if one.away_um <= NEAR_UM]
        if near:
            row = nuclei[0].away_um, -max(one.size_um2 for one in near), min(one.ragged for one in near)
            measures[case.place].append(row)
    away, size, ragged = np.max([np.quantile(rows, 1 - SHARE, axis=0) for rows in measures.values()], axis=0)
    return CellLimits(float(away), -float(size), float(ragged))


def real_cells(data: Path, most: int) -> Iterator[Shown]:
    """Yield the cells of the four laboratories."""
    for name in ("clinic", "tecom"):
        for folder in sorted(one for one in (data / name).iterdir() if one.is_dir() and one.name[0] != "_"):
            paths = list_images(folder).images
            for place in evenly_spaced(len(paths), most):
                yield Shown(name, CELLS, read_image(folder / paths[place]), CROPS_PX[name])
    with Path(__file__).with_name("raabin_by_eye.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            image = read_image(data / "raabin" / "unlabelled" / row["path"])
            yield Shown("raabin", CELLS, image, CROPS_PX["raabin"])
    for field, boxes in _boxes(data).items():
        image = read_image(data / "bccd" / "fields" / field)
        for kind, box in boxes:
            if kind == "WBC" and box[:2].min() > 2 and (box[2:] < np.array(image.shape[1::-1]) - 3).all():
                yield Shown("bccd", CELLS, _around(image, _middle(box), CROPS_PX["bccd"]), CROPS_PX["bccd"])


Boxes: TypeAlias = list[tuple[str, np.ndarray]]


def _boxes(data: Path) -> dict[str, Boxes]:
    """Return kind and left, top, right, bottom of each annotated box of BCCD, by field."""
    found: dict[str, Boxes] = defaultdict(list)
    with (data / "bccd" / "boxes.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sides = np.array([float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")])
            found[row["field"]].append((row["kind"], sides))
    return dict(sorted(found.items()))


def _middle(box: np.ndarray) -> np.ndarray:
    return np.asarray((box[:2] + box[2:]) / 2)


def _around(image: UInt8Image, middle: np.ndarray, crop_px: int) -> UInt8Image:
    """Return the square of `AROUND` crops around a point x, y; beyond the border of the field it is mirrored."""
    side = round(AROUND * crop_px)
    padded = np.pad(image, ((side, side), (side, side), (0, 0)), "reflect")
    left, top = (round(float(value)) + side - side // 2 for value in middle)
    return np.ascontiguousarray(padded[top : top + side, left : left + side])


def real_others(data: Path) -> Iterator[Shown]:
    """Yield pictures of real laboratories that show no single leukocyte in their middle."""
    px = CROPS_PX["bccd"]
    rng = np.random.default_rng(0)
    for field, boxes in _boxes(data).items():
        image = read_image(data / "bccd" / "fields" / field)
        white = [box for kind, box in boxes if kind == "WBC"]
        taken = Counter[str]()
        for place in rng.permutation(len(boxes)):
            kind, box = boxes[place]
            whole = (_middle(box) >= px / 2).all() and (_middle(box) <= np.array(image.shape[1::-1]) - px / 2).all()
            if kind == "WBC" or taken[kind] or not whole or _reach(white, _middle(box), px / 4):
                continue
            taken[kind] += 1
            beside = "beside a leukocyte" if _reach(white, _middle(box), px / 2) else "alone"
            what = "red cells" if kind == "RBC" else "platelets"
            yield Shown("bccd", f"{what} {beside}", _around(image, _middle(box), px), px)
        for number, one in enumerate(white):
            for other in white[:number]:
                sides = np.mean([(box[2:] - box[:2]).max() for box in (one, other)])
                if np.linalg.norm(_middle(one) - _middle(other)) < 1.15 * sides:
                    middle = (_middle(one) + _middle(other)) / 2
                    yield Shown("bccd", "between two leukocytes", _around(image, middle, px), px)
    yield from _corners(data)


def _reach(boxes: Sequence[np.ndarray], middle: np.ndarray, reach: float) -> bool:
    """Return whether a box reaches into the square of twice `reach` around a point."""
    return any((box[2:] > middle - reach).all() and (box[:2] < middle + reach).all() for box in boxes)


def _corners(data: Path) -> Iterator[Shown]:
    """Yield squares of one crop at corners of the images of single cells."""
    names = list_images(data / "clinic").images
    for turn, place in enumerate(evenly_spaced(len(names), CLINIC_CORNERS)):
        image, px = read_image(data / "clinic" / names[place]), CROPS_PX["clinic"]
        rows, columns = (slice(px) if corner else slice(-px, None) for corner in (turn % 2, turn // 2 % 2))
        yield Shown("clinic", "a corner of the image", np.ascontiguousarray(image[rows, columns]), px)
    for file in sorted((data / "raabin" / "_yolo_boxes").iterdir()):
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
        boxes = [np.array([float(value) for value in line[1:]]) for line in lines if line and line[0] == "0"]
        image, px = read_image(data / "raabin" / "unlabelled" / f"{file.stem}.jpg"), CROPS_PX["raabin"]
        white = [np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2]) * image.shape[0] for box in boxes]
        middle = np.array([px / 2, px / 2])
        if not _reach(white, middle, 0.15 * px):
            yield Shown("raabin", "a corner of the image", np.ascontiguousarray(image[:px, :px]), px)


def simulated(count: int) -> Iterator[Shown]:
    """Yield simulated cells, and pictures around other objects of simulated fields, of every hospital."""
    for cell in simulated_cells(CLASSES, 12, 5):
        for name, hospital in HOSPITALS.items():
            yield Shown(name, CELLS, render(cell, hospital, 160), round(CROP_UM / 18.0 * 160))
    rng = np.random.default_rng(1)
    for kind in ("smudge", "platelet_clump", ""):
        for index in range(count):
            plan = plan_field(FIELD, index)
            objects = [_other(one, kind, rng) for one in plan.objects] if kind else _in_pairs(plan.objects, rng)
            painted = paint_field(replace(plan, objects=tuple(objects)))
            places = list(_places(painted, kind, rng))
            for name, hospital in HOSPITALS.items():
                picture = photograph_field(painted, hospital)
                for what, middle in places:
                    shown = _around(picture, middle, SIMULATED_CROP_PX)
                    yield Shown(name, what, shown, SIMULATED_CROP_PX)


def _other(one: FieldObject, kind: str, rng: np.random.Generator) -> FieldObject:
    """Return another object in the place of a leukocyte."""
    low, high = (5.0, 7.0) if kind == "smudge" else (2.2, 4.5)
    return replace(one, kind=kind, radius_um=rng.uniform(low, high)) if one.kind in KINDS else one


def _in_pairs(objects: Sequence[FieldObject], rng: np.random.Generator) -> list[FieldObject]:
    """Return the objects with a second leukocyte beside some of them; red cells in its place are removed."""
    found, names = list(objects), sorted(KINDS)
    for number, one in enumerate([one for one in objects if one.kind in KINDS and not one.cluster][:5], 1):
        kind, angle = names[int(rng.integers(len(names)))], rng.uniform(0, 2 * np.pi)
        radius = KINDS[kind].radius_um
        away = one.radius_um + radius - rng.uniform(0, 0.6)
        step = FIELD.um_per_px / 2
        x, y = (
            round((start + away * turn) / step) * step
            for start, turn in ((one.x_um, np.cos(angle)), (one.y_um, np.sin(angle)))
        )
        gaps = {o: float(np.hypot(o.x_um - x, o.y_um - y)) - o.radius_um - radius for o in found if o != one}
        if any(gap < 1 for o, gap in gaps.items() if o.kind in KINDS):
            continue
        pair = [replace(one, cluster=900 + number), FieldObject(kind, x, y, radius, 900 + number, 5000 + number)]
        found = pair + [o for o, gap in gaps.items() if o.kind in KINDS or gap > -0.3]
    return found


def _places(field: PaintedField, kind: str, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what the pictures of a field show, and their middles."""
    size = np.array([FIELD.width_px, FIELD.height_px])
    inner = [o for o in field.objects if (abs(2 * np.array([o.x, o.y]) - size) < size - SIMULATED_CROP_PX).all()]
    if kind:
        yield from ((_WORDS[kind], np.array([o.x, o.y])) for o in inner if o.kind == kind)
        return
    pairs: dict[int, list[np.ndarray]] = defaultdict(list)
    for one in inner:
        if one.cluster >= 900:
            pairs[one.cluster].append(np.array([one.x, one.y]))
    yield from (("between two leukocytes", np.mean(pair, axis=0)) for pair in pairs.values() if len(pair) == 2)
    taken = Counter[str]()
    for one in inner:
        if one.kind in ("red_cell", "platelet") and (gap := _gap_um(field, one.x, one.y, set(KINDS))) > 4.5:
            what = f"{_WORDS[one.kind]} {'alone' if gap > 12 else 'beside a leukocyte'}"
            taken[what] += 1
            if taken[what] <= 3:
                yield what, np.array([one.x, one.y])
    for _ in range(400):
        x, y = rng.uniform(SIMULATED_CROP_PX / 2, size - SIMULATED_CROP_PX / 2)
        if _gap_um(field, x, y, {o.kind for o in field.objects}) > 2.5 and taken["glass"] < 2:
            taken["glass"] += 1
            yield "empty glass", np.array([x, y])


_WORDS = {
    "smudge": "smudges",
    "platelet_clump": "clumps of platelets",
    "red_cell": "red cells",
    "platelet": "platelets",
}


def _gap_um(field: PaintedField, x: float, y: float, kinds: set[str]) -> float:
    """Return the distance of a point from the nearest object of these kinds."""
    gaps = (
        float(np.hypot(o.x - x, o.y - y)) * FIELD.um_per_px - o.diameter_um / 2
        for o in field.objects
        if o.kind in kinds
    )
    return min(gaps, default=np.inf)


if __name__ == "__main__":
    main()
