"""The log of a re-stained folder: one CSV row for each input file, from which a later call resumes."""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from time import monotonic
from typing import Final, Literal, Self, TextIO

from hemabridge.errors import InputError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, sha256_of, sync_files
from hemabridge.storage.spreadsheets import as_cell, from_cell

LOG = "standardized.csv"
"""The log in the output folder: one row per input file, appended soon after the file is done (`LogAppender`).

Rows of earlier calls are kept as long as their output exists. Text that a spreadsheet would take for a formula begins
with an apostrophe (`hemabridge.storage.spreadsheets.as_cell`).
"""

BATCH_ROWS: Final = 64
BATCH_SECONDS: Final = 1.0
"""A batch of rows is written when it has so many rows, or at the first row after so many seconds."""

_LOG: Final = FileKind(
    f"the {LOG} of an earlier call", InputError, "remove it; all images are then re-stained again", 10**9
)

Status = Literal["restained", "failed", "skipped"]


@dataclass(frozen=True)
class FileRow:
    """The result for one file.

    Attributes:
        path: of the file relative to the input folder, and of its output relative to the output folder.
        status: `restained`; `failed`: an image that could not be used; `skipped`: not an input image.
        reason: why there is no output; empty if there is one.
        sha256: of the input file.
        model: SHA-256 of the snapshot, with `crop_px` if it was given, and of the guard and its fallback.
        verdict: the guard's verdict on the model's output: `pass`, `warn` or `refuse`; empty without a guard.
        verdict_reasons: names of the measures beyond their limits, worst first, separated by blanks.
        restained_by: `model`, or `fallback` if the model's output was refused; empty if there is no output.
        output_sha256: of the output file; empty if there is none. An output with another hash is made again.
        remark: information for users of the image, such as a white point that could not be measured.
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
"""Columns of logs of earlier versions: without verdicts, and without hashes of the outputs."""


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
    return {name: as_cell(getattr(row, name)) for name in COLUMNS}


class LogAppender:
    """Appends rows to the log of a folder in batches, each after the batch's outputs are on the disk.

    What the log calls done is therefore not lost if the computer stops. A batch ends after `BATCH_ROWS` rows or
    `BATCH_SECONDS`, and on leaving the context, also by an error.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._waiting: list[FileRow] = []

    def __enter__(self) -> Self:
        self._file = open_log(self._out / LOG, "a")
        self._log = csv.DictWriter(self._file, COLUMNS)
        self._written = monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        with self._file:
            self._write()

    def add(self, row: FileRow) -> None:
        """Add a row; its output, if it has one, exists."""
        self._waiting.append(row)
        if len(self._waiting) >= BATCH_ROWS or monotonic() - self._written >= BATCH_SECONDS:
            self._write()

    def _write(self) -> None:
        sync_files(self._out / row.path for row in self._waiting if row.output_sha256)
        self._log.writerows(log_cells(row) for row in self._waiting)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._waiting.clear()
        self._written = monotonic()


def read_log(out: Path) -> dict[str, FileRow]:
    """Return the rows of earlier calls whose output exists and is unchanged, by path."""
    if not (out / LOG).is_file():
        return {}
    header, *cells = log_rows(out / LOG)
    # A killed process leaves an incomplete line.
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
    """Return whether an output exists and has that hash; logs of earlier versions have no hashes."""
    path = out / name
    return path.is_file() and is_inside(path, out) and (not sha256 or sha256_of(path) == sha256)


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file lies within the folder; a link among its parents may lead out of it."""
    return path.parent.resolve().is_relative_to(folder.resolve())


def is_header(names: Iterable[str]) -> bool:
    """Return whether these are the columns of a log that this or an earlier version wrote."""
    return tuple(names) in (COLUMNS, *EARLIER_COLUMNS)
