"""Reads how many cells of each snapshot human readers accepted: an optional file that constrains the choice."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from hemabridge.errors import InputError

COLUMNS = ("snapshot", "accepted")
LARGEST_FILE = 1_000_000
"""Bytes; a table of snapshots is far smaller."""


def read_reader_scores(path: Path, snapshots: Sequence[str]) -> dict[str, float]:
    """Read the share of cells, 0..1, that readers accepted of some snapshots: CSV with the columns of `COLUMNS`.

    Raises:
        InputError: the file cannot be read, is no such table, or scores a snapshot twice or one that does not exist.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"expected a table of snapshots, got {path.stat().st_size} bytes: {path}")
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, strict=True)
            if tuple(table.fieldnames or ()) != COLUMNS:
                raise InputError(f"expected the columns {','.join(COLUMNS)}, got {table.fieldnames} in {path}")
            rows = [(row["snapshot"], row["accepted"]) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a CSV file with {','.join(COLUMNS)} at {path}: {error}") from error
    scores: dict[str, float] = {}
    for name, text in rows:
        score = _share(text)
        if name not in snapshots or name in scores or score is None:
            raise InputError(
                f"expected each of the snapshots {', '.join(snapshots)} at most once, with a share from 0 to 1, "
                f"got {name!r}, {text!r} in {path}"
            )
        scores[name] = score
    return scores


def _share(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None
