"""The search of one field: its record, and the crops of its leukocytes, wherever these are kept."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from hemabridge.fields.field_image import FieldImage, FieldPixels
from hemabridge.fields.find_cells import CROP_UM, FoundCells, cut_cell, find_cells_at
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.workflows.find.field_record import CellRecord, FieldRecord
from hemabridge.workflows.find.first_look import Look

CELLS: Final = "cells"
"""Folder of the crops; each field has a folder in it."""

Keep: TypeAlias = Callable[[str, UInt8Image, str], str]
"""Keeps a picture under a path, with a mark in its file; returns the SHA-256 of the file, empty where there is none."""


def search_field(
    name: str, field: FieldImage, look: Look, keep: Keep, *, crop_um: float = CROP_UM
) -> tuple[FieldRecord, FoundCells]:
    """Find the leukocytes of a field and cut them out.

    Args:
        name: of the field; its crops are kept under `CELLS`/name.
        field: the field.
        look: the scale with which it is searched.
        keep: keeps a crop.
        crop_um: side of the crops in micrometers.

    Returns:
        The record, without the picture with rings, and what was found.

    Raises:
        ImageError: a part of the field cannot be read.
    """
    pixels = field.pixels
    found = find_cells_at(pixels, look.scale)
    record = FieldRecord(
        field=name,
        status=found.status,
        reason=found.reason,
        remark=look.remark,
        width=pixels.shape[1],
        height=pixels.shape[0],
        **_measures(found),
    )
    return replace(record, cells=_cut(name, pixels, found, keep, crop_um)), found


def _cut(name: str, image: FieldPixels, found: FoundCells, keep: Keep, crop_um: float) -> tuple[CellRecord, ...]:
    cells = []
    for number, cell in enumerate(found.leukocytes, start=1):
        assert found.scale is not None  # nothing is found without one
        side = found.crop_px(crop_um)
        path = f"{CELLS}/{name}/{number:03d}.png"
        crop = cut_cell(image, cell, side)
        kept = keep(path, crop, FoundScale(found.scale.um_per_px, side).mark)
        where = cell.x, cell.y, cell.diameter_um, cell.score, cell.border, cell.cluster, cell.edge_um, cell.cell_um
        cells.append(CellRecord(path, kept, side, *where))
    return tuple(cells)


def _measures(found: FoundCells) -> dict[str, Any]:
    """Return scale, counts and quality of a field, by the names of `FieldRecord`."""
    measures: dict[str, Any] = {
        "platelets": found.others.get("platelet", 0),
        "clumps": found.others.get("clump", 0),
        "smudges": found.others.get("smudge", 0),
        "debris": found.others.get("debris", 0),
    }
    if found.scale is not None:
        measures |= {
            "um_per_px": found.scale.um_per_px,
            "um_per_px_low": found.scale.low,
            "um_per_px_high": found.scale.high,
            "scale_from": found.scale.source,
            "scale_cells": found.scale.cells,
        }
    if found.quality is not None:
        measures |= {
            "red_cells": found.quality.red_cells,
            "covered": found.quality.covered,
            "edge_um": found.quality.edge_um,
        }
    return measures
