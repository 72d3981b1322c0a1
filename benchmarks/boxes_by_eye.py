"""Leukocytes that were found and boxes that do not match, and what these show by eye (`field_boxes_by_eye.csv`)."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hemabridge.fields.detect import Leukocyte

Box = tuple[float, float, float, float]


def mismatches(cells: Sequence[Leukocyte], boxes: list[Box]) -> tuple[list[Box], list[Leukocyte]]:
    """Return the boxes without a center, and the leukocytes without a box; the largest nuclei choose first."""
    missed, extra = list(boxes), []
    for cell in sorted(cells, key=lambda one: -one.diameter_um):
        inside = [b for b in missed if b[0] <= cell.x <= b[2] and b[1] <= cell.y <= b[3]]
        if inside:
            missed.remove(inside[0])
        else:
            extra.append(cell)
    return missed, extra


NEAR_PX = 5
"""How far a center may have moved since it was looked at."""


class ByEye:
    """What boxes and centers that do not match show by eye; as the boxes say where nobody looked."""

    def __init__(self) -> None:
        with Path(__file__).with_name("field_boxes_by_eye.csv").open(encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))

    def counts(self, field: str, missed: list[Box], extra: list[Leukocyte]) -> tuple[int, int]:
        """Return how many of the missed boxes, and of the leukocytes without a box, are leukocytes."""
        boxes = (self._shows(field, "box", (b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in missed)
        centers = (self._shows(field, "center", cell.x, cell.y) for cell in extra)
        return sum(told in ("", "leukocyte") for told in boxes), sum(told == "leukocyte" for told in centers)

    def _shows(self, field: str, what: str, x: float, y: float) -> str:
        own = (row for row in self.rows if (row["field"], row["what"]) == (field, what))
        near = (row for row in own if np.hypot(int(row["x"]) - x, int(row["y"]) - y) <= NEAR_PX)
        return next((row["shows"] for row in near), "")
