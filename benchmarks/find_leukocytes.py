"""How many leukocytes of annotated fields are found: `python benchmarks/find_leukocytes.py BCCD RAABIN`.

`--simulated N` adds N simulated fields of each hospital, whose truth is exact, with touching and cut cells, thick and
empty areas; those out of focus are not among them. There a leukocyte is found if a center lies within its radius;
cells whose center is outside of the field neither count nor harm.

BCCD is a folder with `fields/` and `boxes.csv`, RAABIN one with a folder of fields and `_yolo_boxes/`. A leukocyte is
found if a center lies in its box, each center and each box counting once. The scale is that of all fields of a
collection (`pooled_scales`), as `hemabridge find` takes it. Prints recall, precision, the scale of single fields, and
CPU milliseconds per field, without decoding. `--crossed` chooses limits on one collection and scores them on the other;
`--two-scales` tells how often fields of two scales in one folder are noticed; `--copies N` resizes every Nth field by
0.4 to 2.5 and compares the scales.

Platelets, clumps of them, smudge cells and debris are scored at simulated fields by their kind, those whose center is
inside of the field. At BCCD a platelet is found if the center of a platelet or a clump is at most 3 pixels outside of
its box.

`field_boxes_by_eye.csv` says what each box that was missed, and each center outside of the boxes, shows by eye. With
it, boxes around red cells, platelets or stain do not count, and leukocytes that have no box do.
"""

import argparse
import csv
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxes_by_eye import Box, ByEye, mismatches
from hemabridge.data.simulate import (
    CLASSES,
    HOSPITALS,
    FieldSpec,
    PaintedField,
    paint_field,
    photograph_field,
    plan_field,
)
from hemabridge.data.simulate.field_pictures import TrueObject
from hemabridge.data.simulate.field_plan import AREAS
from hemabridge.fields.detect import FieldCells, Leukocyte, StainedPlace, find_leukocytes, measured_objects
from hemabridge.fields.field_scale import Scale, estimate_scale
from hemabridge.fields.pooled_scale import MIXED, pooled_scales
from hemabridge.fields.stained_objects import DetectionLimits
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import UInt8Image


def bccd(folder: Path, kind: str = "WBC") -> dict[Path, list[Box]]:
    """Return the boxes of leukocytes, or of another kind, of each field."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == kind:
                boxes[row["field"]].append(
                    (float(row["xmin"]), float(row["ymin"]), float(row["xmax"]), float(row["ymax"]))
                )
    return {path: boxes[path.name] for path in sorted((folder / "fields").glob("*.jpg"))}


def raabin(folder: Path) -> dict[Path, list[Box]]:
    """Return the boxes of leukocytes of each field; the fields are 575 pixels wide and high."""
    return {
        path: list(_yolo(folder / "_yolo_boxes" / f"{path.stem}.txt")) for path in sorted(folder.glob("[!_]*/*.jpg"))
    }


def _yolo(path: Path, side: int = 575) -> Iterator[Box]:
    for line in path.read_text().splitlines():
        kind, x, y, width, height = line.split()
        if kind == "0":
            middle_x, middle_y, half_x, half_y = (side * float(text) for text in (x, y, width, height))
            yield middle_x - half_x / 2, middle_y - half_y / 2, middle_x + half_x / 2, middle_y + half_y / 2


def count_found(cells: Sequence[Leukocyte], boxes: list[Box]) -> int:
    """Return the number of boxes with a center in them, largest nuclei first."""
    return len(boxes) - len(mismatches(cells, boxes)[0])


def count_inside(centers: list[tuple[float, float]], boxes: list[Box], slack: float = 0.0) -> int:
    """Return the number of boxes with a center in them or at most `slack` pixels outside, each counting once."""
    left = list(boxes)
    for x, y in centers:
        inside = [b for b in left if b[0] - slack <= x <= b[2] + slack and b[1] - slack <= y <= b[3] + slack]
        if inside:
            left.remove(inside[0])
    return len(boxes) - len(left)


@dataclass
class Score:
    """Counts over the fields of one hospital."""

    cells: int = 0
    found: int = 0
    centers: int = 0
    touching: int = 0
    touching_found: int = 0
    cut: int = 0
    cut_found: int = 0
    scale_errors: list[float] = field(default_factory=list)
    small: Counter[tuple[str, str]] = field(default_factory=Counter)


def simulated(n_fields: int, seed: int = 11) -> dict[str, Score]:
    """Return the score of each simulated hospital on the same fields, at four scales of 0.08 to 0.25 um per pixel."""
    scores = {name: Score() for name in HOSPITALS}
    areas = tuple(name for name, area in AREAS.items() if area.out_of_focus_um == 0)
    sizes = [(640, 480, 0.14), (960, 720, 0.095), (360, 270, 0.25), (1100, 830, 0.08)]
    for place, (width, height, um_per_px) in enumerate(sizes):
        spec = FieldSpec(
            seed=seed, width_px=width, height_px=height, um_per_px=um_per_px, prevalence=PREVALENCE, areas=areas
        )
        painted = [paint_field(plan_field(spec, index)) for index in range(place, n_fields, len(sizes))]
        for name, hospital in HOSPITALS.items():
            images = [photograph_field(one, hospital) for one in painted]
            for one, image, pooled in zip(
                painted, images, pooled_scales(list(map(estimate_scale, images))), strict=True
            ):
                _score(scores[name], one, image, pooled.scale)
    return scores


PREVALENCE = {name: 1.0 for name in CLASSES} | {"neutrophil": 4.0, "lymphocyte": 3.0}


def _score(score: Score, painted: PaintedField, image: UInt8Image, scale: Scale | None) -> None:
    spec = painted.plan.spec
    cells = FieldCells(()) if scale is None else find_leukocytes(image, scale)
    found = cells.leukocytes
    _score_small(score.small, painted, cells.small)
    if scale is not None:
        score.scale_errors.append(scale.um_per_px / spec.um_per_px - 1)
    free = list(found)
    for cell in sorted((one for one in painted.objects if one.kind in CLASSES), key=lambda one: -one.visible):
        inside = 0 <= cell.x < spec.width_px and 0 <= cell.y < spec.height_px
        radius_px = cell.diameter_um / 2 / spec.um_per_px
        near = sorted((np.hypot(one.x - cell.x, one.y - cell.y), place) for place, one in enumerate(free))
        hit = bool(near) and near[0][0] <= radius_px
        if hit:
            del free[near[0][1]]
        if inside:
            score.cells += 1
            score.found += hit
            score.touching += cell.cluster > 0
            score.touching_found += hit and cell.cluster > 0
            score.cut += cell.border
            score.cut_found += hit and cell.border
        score.centers += hit and inside
    score.centers += len(free)


SMALL_KINDS = {"platelet": "platelet", "clump": "platelet_clump", "smudge": "smudge", "debris": "debris"}
"""Kinds of objects that are no leukocytes, and what they are called in the truth."""

BESIDE_UM = 0.5
"""How far outside of such an object the center that was found may be."""


def _score_small(counts: Counter[tuple[str, str]], painted: PaintedField, found: Sequence[StainedPlace]) -> None:
    """Count true objects, those found, and all that were given the kind."""
    spec = painted.plan.spec
    for kind, name in SMALL_KINDS.items():
        left = [one for one in painted.objects if one.kind == name]
        for place in (one for one in found if one.kind == kind):
            away = [np.hypot(place.x - one.x, place.y - one.y) * spec.um_per_px - one.diameter_um / 2 for one in left]
            nearest = int(np.argmin(away)) if away else -1
            if nearest < 0 or away[nearest] > BESIDE_UM:
                counts[kind, "given"] += 1
            elif _is_inside(left.pop(nearest), spec):
                counts.update([(kind, "given"), (kind, "found"), (kind, "true")])
        counts[kind, "true"] += sum(_is_inside(one, spec) for one in left)


def _is_inside(one: TrueObject, spec: FieldSpec) -> bool:
    return 0 <= one.x < spec.width_px and 0 <= one.y < spec.height_px


def _told(counts: Counter[tuple[str, str]], kind: str) -> str:
    """Return number, recall and precision of a kind."""
    true, found, given = (counts[kind, what] for what in ("true", "found", "given"))
    return f"{true}: {found / max(1, true):.2f}, {found / max(1, given):.2f}"


def print_simulated(n_fields: int, seed: int) -> None:
    """Print two rows for each hospital: leukocytes, and what else the dyes stain."""
    scores = simulated(n_fields, seed)
    print(
        "| simulated fields | leukocytes | recall | precision | touching | cut | um per px: median error, 95 % below |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, score in scores.items():
        errors = np.array(score.scale_errors)
        print(
            f"| {n_fields} {name} | {score.cells} | {score.found / score.cells:.3f} | "
            f"{score.found / score.centers:.3f} | {score.touching_found}/{score.touching} | "
            f"{score.cut_found}/{score.cut} | {np.median(errors):+.1%}, "
            f"{np.quantile(np.abs(errors), 0.95):.1%} |"
        )
    print(f"| number: recall, precision | {' | '.join(SMALL_KINDS)} |")
    print("| --- | --- | --- | --- | --- |")
    for name, score in scores.items():
        print(f"| {n_fields} {name} | {' | '.join(_told(score.small, kind) for kind in SMALL_KINDS)} |")


SHARES = (0.4, 0.45, 0.5)
SIZES = {
    "least_um2": (11.0, 14.0, 18.0),
    "least_cut_um2": (9.0, 12.0, 15.0),
    "least_thickness_um": (2.0, 2.4, 2.8),
    "least_contrast": (0.45, 0.5, 0.55),
    "least_solidity": (0.36, 0.4, 0.44),
}
"""Values of `DetectionLimits` among which `--crossed` chooses, with those of `chromatin_share`."""


def print_crossed(collections: dict[str, dict[Path, list[Box]]]) -> None:
    """Choose limits on one collection by the sum of recall and precision, and score them on the other."""
    choices = [
        DetectionLimits(share, **dict(zip(SIZES, sizes, strict=True)))
        for share in SHARES
        for sizes in itertools.product(*SIZES.values())
    ]
    scores = {name: _grid(boxes, choices) for name, boxes in collections.items()}
    print(f"| chosen on | chromatin_share, {', '.join(SIZES)} | scored on | recall | precision |")
    print("| --- | --- | --- | --- | --- |")
    for name, own in scores.items():
        best = int(np.argmax(own.sum(axis=1)))
        told = ", ".join(f"{getattr(choices[best], limit):g}" for limit in ("chromatin_share", *SIZES))
        for other, found in scores.items():
            print(f"| {name} | {told} | {other} | {found[best, 0]:.3f} | {found[best, 1]:.3f} |")


def _grid(boxes: dict[Path, list[Box]], choices: list[DetectionLimits]) -> NDArray[np.float64]:
    """Return recall and precision of each choice, float64[C, 2]; each field is measured once for each share."""
    counts = np.zeros((len(choices), 2))
    for (path, own), one in zip(boxes.items(), pooled_scales(single_scales(boxes)[0]), strict=True):
        image, scale = read_image(path), one.scale
        if scale is None:
            continue
        objects = {share: measured_objects(image, scale, DetectionLimits(share)) for share in SHARES}
        known: dict[tuple[Leukocyte, ...], tuple[int, int]] = {}
        for place, limits in enumerate(choices):
            cells = tuple(cell for cell, one in objects[limits.chromatin_share] if one.is_leukocyte(limits))
            if cells not in known:
                known[cells] = count_found(cells, own), len(cells)
            counts[place] += known[cells]
    total = sum(len(own) for own in boxes.values())
    return np.stack([counts[:, 0] / total, counts[:, 0] / counts[:, 1]], axis=1)


def single_scales(boxes: dict[Path, list[Box]]) -> tuple[list[Scale | None], float]:
    """Return the scale of each field by itself, and the median CPU milliseconds of one."""
    scales, spent = [], []
    for path in boxes:
        image = read_image(path)
        begun = time.process_time()
        scales.append(estimate_scale(image))
        spent.append(1000 * (time.process_time() - begun))
    return scales, float(np.median(spent))


RATIO = 1.15
"""Ratio of two scales in one folder, for `--two-scales`."""
DRAWS = 200


def print_two_scales(collections: dict[str, dict[Path, list[Box]]]) -> None:
    """Print how often fields of one and of two microscopes are said to be of several."""
    print(f"| fields drawn of | fields | one microscope | every second field a factor of {RATIO} apart |")
    print("| --- | --- | --- | --- |")
    for name, boxes in collections.items():
        scales = [scale for scale in single_scales(boxes)[0] if scale is not None]
        rng = np.random.default_rng(0)
        for count in (20, 40, 80, 200):
            said = np.zeros(2)
            for _ in range(DRAWS):
                own = [scales[place] for place in rng.choice(len(scales), count, replace=False)]
                for number, ratio in enumerate((1.0, RATIO)):
                    both = [_times(one, ratio) if place % 2 else one for place, one in enumerate(own)]
                    said[number] += any(one.remark == MIXED for one in pooled_scales(both)) / DRAWS
            print(f"| {name} | {count} | {said[0]:.3f} | {said[1]:.3f} |")


def _times(scale: Scale, ratio: float) -> Scale:
    um, low, high = (ratio * value for value in (scale.um_per_px, scale.low, scale.high))
    return replace(scale, um_per_px=um, low=low, high=high)


COPIES = (0.4, 0.7, 1.6, 2.5)
"""Factors by which fields are resized for `--copies`."""


def print_copies(collections: dict[str, dict[Path, list[Box]]], every: int) -> None:
    """Print how well the scale of resized copies of every so many fields follows their size."""
    print("| fields | copies | within 5 % | within 10 % | not stated by red cells |")
    print("| --- | --- | --- | --- | --- |")
    for name, boxes in collections.items():
        errors: list[float] = []
        for path in list(boxes)[::every]:
            image = read_image(path)
            own = estimate_scale(image)
            for factor in COPIES:
                size = round(image.shape[1] * factor), round(image.shape[0] * factor)
                copy = estimate_scale(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)))
                sure = own is not None and copy is not None and own.source == copy.source == "red cells"
                errors.append(abs(np.log(copy.um_per_px * factor / own.um_per_px)) if sure else np.inf)
        found = np.array(errors)
        print(
            f"| {name} | {len(found)} | {np.mean(found < np.log(1.05)):.3f} | {np.mean(found < np.log(1.1)):.3f} | "
            f"{np.count_nonzero(np.isinf(found))} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bccd", type=Path, nargs="?")
    parser.add_argument("raabin", type=Path, nargs="?")
    parser.add_argument("--simulated", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=11, help="of the simulated fields")
    parser.add_argument("--crossed", action="store_true", help="limits chosen on one collection, scored on the other")
    parser.add_argument("--copies", type=int, default=0, metavar="N", help="scale of resized copies of every Nth field")
    parser.add_argument("--two-scales", action="store_true", help="only: are fields of two scales in a folder noticed")
    given = parser.parse_args()
    if given.simulated:
        print_simulated(given.simulated, given.seed)
    if given.raabin is None:
        return
    collections = {"BCCD": bccd(given.bccd), "Raabin": raabin(given.raabin)}
    if given.two_scales:
        print_two_scales(collections)
        return
    if given.copies:
        print_copies(collections, given.copies)
    if given.crossed:
        print_crossed(collections)
    platelets = bccd(given.bccd, "Platelets")
    print(
        "| fields | leukocytes | recall | precision | by eye: of | recall | precision | um per pixel | "
        "of single fields: 90 % | scale ms | cells ms |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    by_eye = ByEye()
    for name, boxes in collections.items():
        found = centers = small = small_found = still_missed = unboxed = 0
        single, scale_ms = single_scales(boxes)
        pooled = pooled_scales(single)
        spent = np.zeros(len(boxes))
        for place, ((path, own), one) in enumerate(zip(boxes.items(), pooled, strict=True)):
            image = read_image(path)
            begun = time.process_time()
            cells = FieldCells(()) if one.scale is None else find_leukocytes(image, one.scale)
            spent[place] = time.process_time() - begun
            missed, extra = mismatches(cells.leukocytes, own)
            found += len(own) - len(missed)
            seen = by_eye.counts(path.name, missed, extra)
            still_missed, unboxed = still_missed + seen[0], unboxed + seen[1]
            centers += len(cells.leukocytes)
            places = [(one.x, one.y) for one in cells.small if one.kind in ("platelet", "clump")]
            small += len(places)
            small_found += count_inside(places, platelets.get(path, []), slack=3)
        total = sum(len(own) for own in boxes.values())
        low, high = np.quantile([scale.um_per_px for scale in single if scale is not None], [0.05, 0.95])
        used = ", ".join(f"{scale:.3f}" for scale in sorted({one.scale.um_per_px for one in pooled if one.scale}))
        print(
            f"| {len(boxes)} {name} | {total} | {found / total:.3f} | {found / centers:.3f} | "
            f"{found + unboxed + still_missed} | {(found + unboxed) / (found + unboxed + still_missed):.3f} | "
            f"{(found + unboxed) / centers:.3f} | "
            f"{used} | {low:.3f} to {high:.3f} | {scale_ms:.0f} | {1000 * np.median(spent):.0f} |"
        )
        if name == "BCCD":
            boxed = sum(len(own) for own in platelets.values())
            summary = (
                f"{boxed} boxed platelets: recall {small_found / boxed:.3f}, {small} found, {small_found} in a box"
            )
    print(summary)


if __name__ == "__main__":
    main()
