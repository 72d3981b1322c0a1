"""The tables of a search: the manifest of the crops, the places of the cells, and a row for each field."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from hemabridge._version import __version__
from hemabridge.data.manifest import make_manifest, write_manifest
from hemabridge.errors import InputError
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, write_bytes
from hemabridge.storage.spreadsheets import as_cells
from hemabridge.workflows.find.field_record import FORMAT, FieldRecord

SETTINGS: Final = "find.json"
"""The settings of the last call; a later call recognizes the folder by it."""

MOST_RATIO: Final = 1.05
"""Largest ratio of the scale of a field to the median at which all crops have one side."""

MANIFEST: Final = "manifest.csv"
CELL_TABLE: Final = "cells.csv"
FIELD_TABLE: Final = "fields.csv"
TABLES: Final = (MANIFEST, CELL_TABLE, FIELD_TABLE)
"""Files that are written when all fields are done."""

CELL_COLUMNS: Final = {
    "path": pl.String,
    "field": pl.String,
    "x": pl.Float64,
    "y": pl.Float64,
    "diameter_um": pl.Float64,
    "cell_um": pl.Float64,
    "um_per_px": pl.Float64,
    "score": pl.Float64,
    "border": pl.Boolean,
    "cluster": pl.Boolean,
    "edge_um": pl.Float64,
    "blurred": pl.Boolean,
}
"""Columns of `cells.csv`; `path` is that of the manifest, `x` and `y` are pixels of the field."""

FIELD_COLUMNS: Final = {
    **dict.fromkeys(("field", "status", "reason", "remark"), pl.String),
    **dict.fromkeys(("width", "height"), pl.Int64),
    **dict.fromkeys(("um_per_px", "um_per_px_low", "um_per_px_high"), pl.Float64),
    "scale_from": pl.String,
    **dict.fromkeys(
        (
            "scale_cells",
            "leukocytes",
            "border",
            "cluster",
            "blurred_cells",
            "platelets",
            "clumps",
            "smudges",
            "debris",
            "red_cells",
        ),
        pl.Int64,
    ),
    **dict.fromkeys(("covered", "edge_um"), pl.Float64),
    **dict.fromkeys(("overlay", "sha256"), pl.String),
}
"""Columns of `fields.csv`; `FieldRecord` says what they are."""

_KIND: Final = FileKind(f"the {SETTINGS} of an earlier call", InputError, "name another output folder")


def is_own(out: Path) -> bool:
    """Return whether an earlier call wrote the folder.

    Raises:
        InputError: its settings are damaged.
    """
    return (out / SETTINGS).is_file() and "find" in _KIND.read_object(out / SETTINGS)


def write_settings(out: Path, *, um_per_px: float | None, crop_um: float, site: str) -> None:
    """Write the settings of a call, first of all files."""
    settings = {"um_per_px": um_per_px, "crop_um": crop_um, "site": site}
    told = {"format": FORMAT, "hemabridge": __version__, "find": settings}
    write_bytes(out / SETTINGS, json.dumps(told, indent=2, ensure_ascii=False).encode())


def write_tables(records: Sequence[FieldRecord], out: Path, site: str) -> None:
    """Write `cells.csv`, `fields.csv`, and the manifest; without a cell there is no manifest."""
    cells = [(record, cell) for record in records for cell in record.cells]
    found = [
        vars(cell) | {"field": record.field, "um_per_px": record.um_per_px, "blurred": bool(cell.blurred)}
        for record, cell in cells
    ]
    _write(found, CELL_COLUMNS, out / CELL_TABLE)
    told = [
        vars(record)
        | {"leukocytes": len(record.cells), "border": record.border}
        | {"cluster": record.cluster, "blurred_cells": record.blurred}
        for record in records
    ]
    _write(told, FIELD_COLUMNS, out / FIELD_TABLE)
    if not cells:
        (out / MANIFEST).unlink(missing_ok=True)
        return
    sides = [cell.side_px for _, cell in cells]
    columns: dict[str, list[Any]] = {
        "path": [cell.path for _, cell in cells],
        "site": [site] * len(cells),
        "sha256": [cell.sha256 for _, cell in cells],
        "width": sides,
        "height": sides,
        "crop_px": crop_sides([record.um_per_px for record, _ in cells]),
    }
    write_manifest(make_manifest(columns, out, where=MANIFEST), out / MANIFEST)


def crop_sides(scales: Sequence[float | None]) -> list[int]:
    """Return the side of the square that shows each cell in its crop, in pixels: `CELL_CROP_UM`.

    Where all scales are near their median, it is that of the median: files of one microscope may state them with other
    digits, and other commands take images of one side alone. With several sides they ask for a manifest of each scale.

    Args:
        scales: micrometers per pixel of each cell's field; a field with cells has a scale.
    """
    known = np.array(scales, np.float64)
    middle = float(np.median(known))
    is_one = bool(np.all(np.abs(np.log(known / middle)) < np.log(MOST_RATIO)))
    return [round(CELL_CROP_UM / (middle if is_one else own)) for own in known.tolist()]


def _write(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], path: Path) -> None:
    """Write the named columns of the rows; no cell can be taken for a formula."""
    kept = [{name: row[name] for name in columns} for row in rows]
    with atomic_write(path) as temporary:
        table = as_cells(pl.DataFrame(kept, schema=dict(columns)))
        table.write_csv(temporary, float_precision=4, line_terminator="\n")
