"""The CSV files of `hemabridge label`: the cells to label, the labels, and the predictions for all cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from hemabridge.class_names import spelling_key
from hemabridge.errors import InputError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cells, from_cell

TO_LABEL: Final = "cells-to-label.csv"
NEXT: Final = "next-cells.csv"
LABELS: Final = "labels.csv"
PREDICTED_CLASSES: Final = "predicted-classes.csv"

UNKNOWN_CLASS: Final = "unknown"
"""The label of a cell that is of no class of the study, or that the expert cannot tell."""

_LABELS: Final = FileKind("a table of labels", InputError, "give a CSV file with the columns path and class")


@dataclass(frozen=True)
class CellToLabel:
    """A cell that an expert should label.

    Attributes:
        path: of its file, relative to the folder.
        predicted: class that the ensemble predicts; it is not shown to the expert.
        probability: of this class, 0..1.
        subdomain: index of its group of images of one color of the empty field.
    """

    path: str
    predicted: str
    probability: float
    subdomain: int


def write_cells(cells: Sequence[CellToLabel], path: Path) -> None:
    """Write cells to label, with an empty column `class` to fill in."""
    rows = [(cell.path, "", cell.predicted, cell.probability, cell.subdomain) for cell in cells]
    schema = {
        "path": pl.String,
        "class": pl.String,
        "predicted_class": pl.String,
        "probability": pl.Float64,
        "subdomain": pl.Int64,
    }
    _write(rows, schema, path)


def read_cells(path: Path) -> list[CellToLabel]:
    """Read what `write_cells` wrote.

    Raises:
        InputError: it is another file.
    """
    rows = _rows(path, ("path", "predicted_class", "probability", "subdomain"))
    return [CellToLabel(name, said, float(probability), int(place)) for name, said, probability, place in rows]


def has_labels(path: Path) -> bool:
    """Return whether a table of cells to label exists and a class was filled in."""
    return path.is_file() and any(given.strip() for (given,) in _rows(path, ("class",)))


def write_labels(labels: Mapping[str, str], path: Path) -> None:
    """Write the label of each path."""
    _write(list(labels.items()), {"path": pl.String, "class": pl.String}, path)


def read_labels(path: Path, classes: Sequence[str]) -> dict[str, str]:
    """Read labels by path; rows with an empty class are left out.

    Classes of the study may be in any spelling; other classes are kept as they are.

    Raises:
        InputError: no such table, a path has two labels, or no row has a class.
    """
    known = {spelling_key(name): name for name in classes}
    found: dict[str, str] = {}
    for name, given in _rows(path, ("path", "class")):
        if not given.strip():
            continue
        label = known.get(spelling_key(given), given.strip())
        if found.setdefault(name, label) != label:
            raise InputError(f"expected one label for {name}, got {found[name]} and {label} in {path}; remove one")
    if not found:
        raise InputError(f"expected at least one label, got only empty cells in the column class of {path}; fill it in")
    return found


def write_predictions(
    paths: Sequence[str], before: Sequence[str], after: Sequence[str], chances: Sequence[float], path: Path
) -> None:
    """Write the predicted class of every cell without labels and with them, and the probability of the latter."""
    schema = {
        "path": pl.String,
        "predicted_class": pl.String,
        "probability": pl.Float64,
        "before_labels": pl.String,
    }
    _write(list(zip(paths, after, chances, before, strict=True)), schema, path)


def _write(rows: Sequence[tuple[Any, ...]], schema: Mapping[str, Any], path: Path) -> None:
    """Write a table as a whole; no cell can be taken for a formula."""
    with atomic_write(path) as temporary:
        as_cells(pl.DataFrame(rows, schema=dict(schema), orient="row")).write_csv(temporary, float_precision=4)


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return these columns of a CSV file as texts; separators and encodings of spreadsheets are understood."""
    lines = [line for line in _LABELS.read_text(path, utf16=True).splitlines() if line.strip(" ;,\t")]
    stated = bool(lines) and lines[0].casefold().startswith("sep=")
    lines = lines[stated:]
    mark = max(",;\t", key=(lines[0] if lines else "").count)
    header, *cells = _LABELS.parse_csv("\n".join(lines), path, separator=mark) if lines else [[]]
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise InputError(f"expected each column once, got {', '.join(twice)} more than once in {path}; remove one")
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(
            f"expected the columns {', '.join(columns)}, got {', '.join(header) or 'none'} in {path}; {_LABELS.remedy}"
        )
    places = [header.index(name) for name in columns]
    if any(len(row) <= max(places) for row in cells):
        raise _LABELS.damaged(path, f"a row of fewer than {max(places) + 1} cells")
    return [tuple(from_cell(row[place]) for place in places) for row in cells]
