"""The table `predicted-classes.csv` of `hemabridge evaluate`: a row for each file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import polars as pl

from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import NewCells
from hemabridge.models.classified import UNKNOWN
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cells
from hemabridge.workflows.evaluate.answers import Answers
from hemabridge.workflows.evaluate.trust import Trust

PREDICTED_CLASSES: Final = "predicted-classes.csv"
COLUMNS: Final = ("path", "class", "predicted_class", "probability", "site", "guard", "by", "reason", "remark")
"""Those that `hemabridge run` writes too have the same names."""
_EARLIER: Final = ("path", "class", "answer", "probability", "by", "reason")

_Row: TypeAlias = tuple[str, str, str | None, float | None, str | None, str | None, str, str | None, str | None]
"""The values of `COLUMNS`."""


def write_rows(
    chosen: Answers, trust: Trust, cells: NewCells, classes: Sequence[str], manifest: Manifest, path: Path
) -> tuple[int, int, int]:
    """Write a row for each file: those of the manifest in its order, then those that it could not list.

    Args:
        chosen: the predictions.
        trust: what is known of the images; it decides which rows have no class.
        cells: the cells, and why other files are none.
        classes: class names.
        manifest: states classes.
        path: of the table.

    Returns:
        How many cells have a class, how many are `unknown`, and of how many the class cannot be trusted.
    """
    given = dict(zip(manifest.column("path"), manifest.column("class"), strict=True))
    given |= {name: given.get(name, "") for name in cells.failed}
    places = {name: place for place, name in enumerate(cells.paths)}
    rows: list[_Row] = []
    for name, known in given.items():
        place = places.get(name)
        if place is None:
            rows.append((name, known, None, None, trust.site, None, chosen.name, cells.failed.get(name), None))
            continue
        said, reason = chosen.probabilities[place], trust.reason(place)
        none = cells.unknown.get(name)
        best = UNKNOWN if none else classes[int(said.argmax())]
        predicted = (None, None) if reason else (best, float(said.max()))
        told = (reason or none, trust.remark(place))
        rows.append((name, known, *predicted, trust.site, trust.verdict(place), chosen.name, *told))
    _write(rows, path)
    answered = [row[0] for row in rows if row[2] is not None]
    unknown = sum(name in cells.unknown for name in answered)
    return len(answered) - unknown, unknown, len(cells.paths) - len(answered)


def _write(rows: Sequence[_Row], path: Path) -> None:
    """Write the table; no spreadsheet takes a value for a formula."""
    schema = {name: pl.Float64 if name == "probability" else pl.String for name in COLUMNS}
    with atomic_write(path) as temporary:
        as_cells(pl.DataFrame(rows, schema=schema, orient="row")).write_csv(temporary, float_precision=4)


def is_table(path: Path) -> bool:
    """Return whether a file is such a table, of this or an earlier version."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline().strip() in {",".join(names).encode() for names in (COLUMNS, _EARLIER)}


def claim(path: Path) -> None:
    """Write the header alone, before other files, so that a later call recognizes the folder of an interrupted one."""
    if not is_table(path):
        _write([], path)
