"""The files of a count for people: two tables and a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from hemabridge.evaluation.differential_results import CountedCell, DifferentialResults
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.report.report import write_differential_report
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cells

SHARE_TABLE: Final = "differential.csv"
CELL_TABLE: Final = "cells.csv"
REPORT: Final = "report.html"

PICTURE_PX: Final = 72
"""Side of a cell's picture in the report."""

LEAST_CERTAIN: Final = 12
"""Largest number of cells of each class in the report, the least certain first."""

_SHARES: Final = {
    "class": pl.String,
    "cells": pl.Int64,
    "checked": pl.Int64,
    **dict.fromkeys(
        ("percent", "low", "high", "counted_percent", "counted_low", "counted_high"),
        pl.Float64,
    ),
    **dict.fromkeys(("of_100_low", "of_100_high", "of_200_low", "of_200_high"), pl.Float64),
}
_CELLS: Final = {
    **dict.fromkeys(("path", "field"), pl.String),
    **dict.fromkeys(("x", "y", "diameter_um", "cell_um", "um_per_px"), pl.Float64),
    **dict.fromkeys(("border", "cluster", "counted"), pl.Boolean),
    **dict.fromkeys(("left_out", "class", "predicted_class"), pl.String),
    "probability": pl.Float64,
    **dict.fromkeys(("unknown", "guard", "expert", "restained"), pl.String),
}


def write_results(results: DifferentialResults, out: Path, language: str = "en") -> None:
    """Write `differential.csv`, `cells.csv` and `report.html`, this one in a language; each is replaced as a whole."""
    _write(_share_rows(results), _SHARES, out / SHARE_TABLE)
    names = [f"probability of {name}" for name in results.classes]
    rows = [_cell_row(cell) | dict(zip(names, cell.probabilities, strict=True)) for cell in results.cells]
    _write(rows, _CELLS | dict.fromkeys(names, pl.Float64), out / CELL_TABLE)
    shown = {
        name: sorted((cell for cell in results.counted if cell.class_name == name), key=_certainty)[:LEAST_CERTAIN]
        for name in dict.fromkeys(share.name for share in results.shares())
    }
    pictures = {cell.path: _small(out / cell.path) for cells in shown.values() for cell in cells}
    write_differential_report(results, shown, pictures, out / REPORT, language)


def _certainty(cell: CountedCell) -> tuple[bool, float]:
    """Cells that nobody has checked come first, the least certain before all."""
    return cell.expert is not None, cell.probability


def _small(path: Path) -> UInt8Image:
    return resize_square(read_image(path), PICTURE_PX)


def _share_rows(results: DifferentialResults) -> list[dict[str, Any]]:
    rows = []
    for one in results.shares():
        limits = (one.share, one.low, one.high, one.raw, one.raw_low, one.raw_high, *one.of_100, *one.of_200)
        percents = [100 * value for value in limits]
        rows.append(dict(zip(_SHARES, (one.name, one.counted, one.checked, *percents), strict=True)))
    return rows


def _cell_row(cell: CountedCell) -> dict[str, Any]:
    own = {name: getattr(cell, name, None) for name in _CELLS}
    return own | {"class": cell.class_name, "predicted_class": cell.predicted}


def _write(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], path: Path) -> None:
    """Write a table; no cell can be taken for a formula."""
    with atomic_write(path) as temporary:
        table = as_cells(pl.DataFrame([dict(row) for row in rows], schema=dict(columns)))
        table.write_csv(temporary, float_precision=4, line_terminator="\n")
