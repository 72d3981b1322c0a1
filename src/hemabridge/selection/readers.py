"""The optional file of reader scores: the share of cells of each snapshot that human readers accepted."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hemabridge.errors import InputError
from hemabridge.storage.file_kind import FileKind

COLUMNS = ("snapshot", "accepted")
LARGEST_FILE = 1_000_000
"""Largest size in bytes; a table of snapshots is far smaller."""

_KIND: Final = FileKind(f"a CSV file with {','.join(COLUMNS)}", InputError, "correct the file", LARGEST_FILE)


def read_reader_scores(path: Path, snapshots: Sequence[str]) -> dict[str, float]:
    """Read the share of cells, 0..1, that readers accepted of some snapshots, from CSV with the columns `COLUMNS`.

    Raises:
        InputError: the file cannot be read, is not such a table, or scores a snapshot twice or an unknown one.
    """
    header, *rows = _KIND.parse_csv(_KIND.read_text(path), path) or [[]]
    if tuple(header) != COLUMNS:
        raise InputError(
            f"expected the columns {','.join(COLUMNS)}, got {header[:9]} in {path}; correct its first line"
        )
    if any(len(row) != len(COLUMNS) for row in rows):
        raise InputError(f"expected {len(COLUMNS)} cells in each row of {path}, got another number; correct the file")
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
