"""The log of a re-stained folder: one CSV row for each input file, from which a later call resumes."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Literal, TextIO

from hemabridge.errors import InputError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, sha256_of
from hemabridge.storage.spreadsheets import as_cell, from_cell

LOG = "standardized.csv"
"""Written into the output folder: one row per file found, appended as the job goes on.

Rows of earlier calls stay as long as their output does. A text that a spreadsheet would take for a formula has an
apostrophe in front (`hemabridge.storage.spreadsheets.as_cell`).
"""

_LOG: Final = FileKind(f"the {LOG} of an earlier call", InputError, "remove it; all is then re-stained again", 10**9)

Status = Literal["restained", "failed", "skipped"]


@dataclass(frozen=True)
class FileRow:
    """What became of one file.

    Attributes:
        path: relative to the input folder, and of the output to the output folder.
        status: `restained`; `failed`: an image that could not be used; `skipped`: no input image.
        reason: why there is no output; empty if there is one.
        sha256: of the input file.
        model: SHA-256 of the snapshot, with `crop_px` where it was stated, and of the guard and its fallback.
        verdict: of the guard on what the model made of the cell: `pass`, `warn` or `refuse`; empty without a guard.
        verdict_reasons: names of the measures beyond their limits, worst first, a blank between them.
        restained_by: `model`, or `fallback` in the place of what was refused; empty if there is no output.
        output_sha256: of the output file; empty if there is none. An output that does not fit is made again.
        remark: what the reader of the picture has to know, such as a white point that could not be measured.
    """

    path: str
    status: Status
    reason: str
    sha256: str
    model: str
    verdict: str = ""
    verdict_reasons: str = ""
    restained_by: str = ""
    output_sha256: str = ""
    remark: str = ""


COLUMNS = tuple(field.name for field in fields(FileRow))
EARLIER_COLUMNS = (COLUMNS[:5], COLUMNS[:8])
"""Those of logs from before there were verdicts, and before there were hashes of the outputs."""


def open_log(path: Path, mode: Literal["a", "w"]) -> TextIO:
    """Open a log; names of files that are not valid UTF-8 keep their bytes (surrogate escapes)."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


def write_log(path: Path, rows: Iterable[FileRow]) -> None:
    """Write a log with these rows, whole or not at all."""
    with atomic_write(path) as temporary, open_log(temporary, "w") as file:
        log = csv.DictWriter(file, COLUMNS)
        log.writeheader()
        log.writerows(log_cells(row) for row in rows)


def log_cells(row: FileRow) -> dict[str, str]:
    """Return the cells of one row by column, safe to open in a spreadsheet."""
    return {name: as_cell(text) for name, text in asdict(row).items()}


def read_log(out: Path) -> dict[str, FileRow]:
    """Return the rows of earlier calls whose output is in its place and as it was written, by path."""
    if not (out / LOG).is_file():
        return {}
    header, *cells = log_rows(out / LOG)
    # A killed process leaves a line with cells missing.
    whole = [row for row in cells if len(row) == len(header)] if is_header(header) else []
    rows = [{name: from_cell(cell) for name, cell in zip(header, row, strict=True)} for row in whole]
    return {
        row["path"]: FileRow(status="restained", **{name: text for name, text in row.items() if name != "status"})
        for row in rows
        if row["status"] == "restained" and _is_as_written(out, row["path"], row.get("output_sha256", ""))
    }


def log_rows(log: Path) -> list[list[str]]:
    """Return header and rows of the log of an earlier call; an empty header if the file is empty."""
    return _LOG.parse_csv(_LOG.read_text(log, errors="surrogateescape"), log, strict=False) or [[]]


def _is_as_written(out: Path, name: str, sha256: str) -> bool:
    """Tell whether an output is in its place, and has that hash; logs from before there were hashes state none."""
    path = out / name
    return path.is_file() and is_inside(path, out) and (not sha256 or sha256_of(path) == sha256)


def is_inside(path: Path, folder: Path) -> bool:
    """Tell whether a file is written within the folder; a link among its parents may lead out of it."""
    return path.parent.resolve().is_relative_to(folder.resolve())


def is_header(names: Iterable[str]) -> bool:
    """Return whether these are the columns of a log that this or an earlier version wrote."""
    return tuple(names) in (COLUMNS, *EARLIER_COLUMNS)
