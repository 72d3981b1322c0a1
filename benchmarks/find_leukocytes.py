"""How many leukocytes of annotated fields are found: `python benchmarks/find_leukocytes.py BCCD RAABIN`.

`--simulated N` adds N simulated fields of each hospital, whose truth is exact, with touching and cut cells, thick and
empty areas; those out of focus are not among them. There a leukocyte is found if a center lies within its radius;
cells whose center is outside of the field neither count nor harm.

BCCD is a folder with `fields/` and `boxes.csv`, RAABIN one with a folder of fields and `_yolo_boxes/`. A leukocyte is
found if a center lies in its box, each center and each box counting once. Prints recall, precision, the scale, and CPU
milliseconds per field, without decoding. `--crossed` chooses limits on one collection and scores them on the other;
`--copies N` resizes every Nth field by 0.4 to 2.5 and compares the scales.
"""

import argparse
import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.data.simulate import (
    CLASSES,
    HOSPITALS,
    FieldSpec,
    PaintedField,
    paint_field,
    photograph_field,
    plan_field,
)
from hemabridge.data.simulate.field_plan import AREAS
from hemabridge.fields.detect import DetectionLimits, FieldCells, Leukocyte, find_leukocytes
from hemabridge.fields.scale import Scale, estimate_scale
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import UInt8Image

Box = tuple[float, float, float, float]


def bccd(folder: Path) -> dict[Path, list[Box]]:
    """Return the boxes of leukocytes of each field."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "WBC":
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


def count_found(cells: tuple[Leukocyte, ...], boxes: list[Box]) -> int:
    """Return the number of boxes with a center in them, largest nuclei first."""
    left = list(boxes)
    for cell in sorted(cells, key=lambda one: -one.diameter_um):
        inside = [box for box in left if box[0] <= cell.x <= box[2] and box[1] <= cell.y <= box[3]]
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


def simulated(n_fields: int, seed: int = 11) -> dict[str, Score]:
    """Return the score of each simulated hospital on the same fields, at 0.08 to 0.25 um per pixel."""
    scores = {name: Score() for name in HOSPITALS}
    areas = tuple(name for name, area in AREAS.items() if area.out_of_focus_um == 0)
    sizes = [(640, 480, 0.14), (960, 720, 0.095), (360, 270, 0.25), (1100, 830, 0.08)]
    for index in range(n_fields):
        width, height, um_per_px = sizes[index % len(sizes)]
        spec = FieldSpec(seed=seed, width_px=width, height_px=height, um_per_px=um_per_px, mix=MIX, areas=areas)
        painted = paint_field(plan_field(spec, index))
        for name, hospital in HOSPITALS.items():
            _score(scores[name], painted, photograph_field(painted, hospital))
    return scores


MIX = {name: 1.0 for name in CLASSES} | {"neutrophil": 4.0, "lymphocyte": 3.0}


def _score(score: Score, painted: PaintedField, image: UInt8Image) -> None:
    spec = painted.plan.spec
    scale = estimate_scale(image)
    found = () if scale is None else find_leukocytes(image, scale).leukocytes
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


def print_simulated(n_fields: int) -> None:
    """Print a row for each hospital."""
    print(
        "| simulated fields | leukocytes | recall | precision | touching | cut | um per px: median error, 95 % below |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, score in simulated(n_fields).items():
        errors = np.array(score.scale_errors)
        print(
            f"| {n_fields} {name} | {score.cells} | {score.found / score.cells:.3f} | "
            f"{score.found / score.centers:.3f} | {score.touching_found}/{score.touching} | "
            f"{score.cut_found}/{score.cut} | {np.median(errors):+.1%}, "
            f"{np.quantile(np.abs(errors), 0.95):.1%} |"
        )


SHARES, LEAST_UM2, LEAST_CUT_UM2 = (0.4, 0.45, 0.5), (14.0, 18.0, 22.0), (6.0, 9.0, 12.0)
"""Values of `DetectionLimits` among which `--crossed` chooses."""


def print_crossed(collections: dict[str, dict[Path, list[Box]]]) -> None:
    """Choose limits on one collection by the sum of recall and precision, and score them on the other."""
    choices = [
        DetectionLimits(chromatin_share=share, least_um2=least, least_cut_um2=cut)
        for share, least, cut in itertools.product(SHARES, LEAST_UM2, LEAST_CUT_UM2)
    ]
    scores = {name: _grid(boxes, choices) for name, boxes in collections.items()}
    print("| chosen on | chromatin_share, least_um2, least_cut_um2 | scored on | recall | precision |")
    print("| --- | --- | --- | --- | --- |")
    for name, own in scores.items():
        best = int(np.argmax(own.sum(axis=1)))
        limits = choices[best]
        told = f"{limits.chromatin_share}, {limits.least_um2:g}, {limits.least_cut_um2:g}"
        for other, found in scores.items():
            print(f"| {name} | {told} | {other} | {found[best, 0]:.3f} | {found[best, 1]:.3f} |")


def _grid(boxes: dict[Path, list[Box]], choices: list[DetectionLimits]) -> NDArray[np.float64]:
    """Return recall and precision of each choice, float64[C, 2]."""
    counts = np.zeros((len(choices), 2))
    for path, own in boxes.items():
        image = read_image(path)
        scale = estimate_scale(image)
        for place, limits in enumerate(choices):
            cells = () if scale is None else find_leukocytes(image, scale, limits=limits).leukocytes
            counts[place] += count_found(cells, own), len(cells)
    total = sum(len(own) for own in boxes.values())
    return np.stack([counts[:, 0] / total, counts[:, 0] / counts[:, 1]], axis=1)


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
    parser.add_argument("--crossed", action="store_true", help="limits chosen on one collection, scored on the other")
    parser.add_argument("--copies", type=int, default=0, metavar="N", help="scale of resized copies of every Nth field")
    given = parser.parse_args()
    if given.simulated:
        print_simulated(given.simulated)
    if given.raabin is None:
        return
    collections = {"BCCD": bccd(given.bccd), "Raabin": raabin(given.raabin)}
    if given.copies:
        print_copies(collections, given.copies)
    if given.crossed:
        print_crossed(collections)
    print("| fields | leukocytes | recall | precision | um per pixel: median, middle 90 % | scale ms | cells ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, boxes in collections.items():
        found = centers = 0
        scales: list[float] = []
        spent = np.zeros((len(boxes), 2))
        for place, (path, own) in enumerate(boxes.items()):
            image = read_image(path)
            begun = time.process_time()
            scale: Scale | None = estimate_scale(image)
            scaled = time.process_time()
            cells = FieldCells(()) if scale is None else find_leukocytes(image, scale)
            spent[place] = scaled - begun, time.process_time() - scaled
            found += count_found(cells.leukocytes, own)
            centers += len(cells.leukocytes)
            scales += [] if scale is None else [scale.um_per_px]
        total = sum(len(own) for own in boxes.values())
        low, middle, high = np.quantile(scales, [0.05, 0.5, 0.95])
        scale_ms, cells_ms = 1000 * np.median(spent, axis=0)
        print(
            f"| {len(boxes)} {name} | {total} | {found / total:.3f} | {found / centers:.3f} | "
            f"{middle:.3f}, {low:.3f} to {high:.3f} | {scale_ms:.0f} | {cells_ms:.0f} |"
        )


if __name__ == "__main__":
    main()
