"""How many leukocytes of annotated fields are found: `python benchmarks/find_leukocytes.py BCCD RAABIN`.

BCCD is a folder with `fields/` and `boxes.csv`, RAABIN one with a folder of fields and `_yolo_boxes/`. A leukocyte is
found if a center lies in its box, each center and each box counting once. Prints recall, precision, the scale, and CPU
milliseconds per field, without decoding.
"""

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hemabridge.fields.detect import FieldCells, Leukocyte, find_leukocytes
from hemabridge.fields.scale import Scale, estimate_scale
from hemabridge.imaging.files import read_image

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bccd", type=Path)
    parser.add_argument("raabin", type=Path)
    given = parser.parse_args()
    print("| fields | leukocytes | recall | precision | um per pixel: median, middle 90 % | scale ms | cells ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, boxes in (("BCCD", bccd(given.bccd)), ("Raabin", raabin(given.raabin))):
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
