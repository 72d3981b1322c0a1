"""The manifest: one CSV that says which image belongs to which site, class, patient, slide and split.

The path rule. `path` is relative to one folder, the manifest's *root*: the folder that the CSV lies in, or the folder
that the reader names (`read_manifest(path, root=...)`, `--root` on the command line). Nothing outside of the root is
ever opened: absolute paths, `..` and symbolic links that leave the root are refused. `write_manifest` writes the paths
as they are; a manifest that was written to another folder than its root is therefore read with `root`.
"""

import csv
import difflib
import io
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hemabridge.errors import ManifestError
from hemabridge.imaging.files import atomic_write, sha256_of

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each file with (files done, files in total)."""

NAME_COLUMNS = ("site", "class", "patient", "slide", "split")
INTEGER_COLUMNS = ("width", "height", "crop_px")
SCHEMA = pl.Schema(
    {
        "path": pl.String(),
        **{name: pl.String() for name in NAME_COLUMNS},
        "sha256": pl.String(),
        **{name: pl.Int64() for name in INTEGER_COLUMNS},
    }
)
"""All columns, in order. An unknown text is the empty string, an unknown integer is null."""

MAX_BYTES = 200_000_000
MAX_CELL_CHARACTERS = 4_096
_SHOWN = 5
_INTEGER = r"^[1-9][0-9]{0,8}$"
_FORMULA = r"^[=+\-@]"
_SYNONYMS = {
    "file": "path",
    "filename": "path",
    "image": "path",
    "hospital": "site",
    "lab": "site",
    "label": "class",
    "donor": "patient",
    "subject": "patient",
    "fold": "split",
    "part": "split",
    "subset": "split",
    "hash": "sha256",
}


@dataclass(frozen=True, eq=False)
class Manifest:
    """Images of one or several sites.

    Attributes:
        table: one row per image with the columns of `SCHEMA`.
        root: the folder that `path` is relative to.
    """

    table: pl.DataFrame
    root: Path

    def __post_init__(self) -> None:
        if self.table.schema != SCHEMA:
            raise ManifestError(f"expected a table with the columns {dict(SCHEMA)}, got {dict(self.table.schema)}")

    def __len__(self) -> int:
        return self.table.height

    def select(self, rows: pl.Expr | pl.Series | Sequence[bool] | NDArray[np.bool_]) -> "Manifest":
        """Return the manifest of the rows for which the polars expression or the mask holds, in the same order."""
        mask = rows if isinstance(rows, pl.Expr | pl.Series) else pl.Series(np.asarray(rows, dtype=bool))
        return Manifest(self.table.filter(mask), self.root)

    def with_crop_px(self, crop_px: int) -> "Manifest":
        """Return the manifest with `crop_px` (side in pixels, at least 1) for every image."""
        return Manifest(self.table.with_columns(pl.lit(crop_px, dtype=pl.Int64).alias("crop_px")), self.root)

    def column(self, name: str) -> list[Any]:
        """Return one column of `SCHEMA` as a list, in row order."""
        return self.table.get_column(name).to_list()

    def paths(self) -> list[Path]:
        """Return the absolute path of each image, in row order.

        Raises:
            ManifestError: a path leaves the root, directly or through a symbolic link.
        """
        root = os.path.realpath(self.root)
        paths = self.column("path")
        outside = [path for path in paths if not _is_inside(root, path)]
        if outside:
            raise ManifestError(
                f"expected paths inside of {root}, got {_listed(outside)} that lead(s) out of it; "
                "name the folder that holds all images as root (--root)"
            )
        return [Path(root, path) for path in paths]


def make_manifest(columns: Mapping[str, Sequence[Any]], root: Path, *, where: str = "the manifest") -> Manifest:
    """Build a manifest from columns; the ones that are left out are unknown.

    Args:
        columns: at least `path` (relative to `root`, with `/`) and `site`. Text columns hold strings, the empty string
            for unknown; `width`, `height`, `crop_px` hold positive integers (also as text), None or "" for unknown.
        root: the folder that `path` is relative to.
        where: what an error message calls this manifest.

    Raises:
        ManifestError: no rows, an unknown or a missing column, a value that is not allowed, the same path twice.
    """
    _check_columns(list(columns), where)
    count = len(columns["path"])
    if count == 0:
        raise ManifestError(f"expected at least one image in {where}, got none")
    series = {
        name: pl.Series(name, [_text(value) for value in columns.get(name, [""] * count)], dtype=pl.String)
        for name in SCHEMA
    }
    table = pl.DataFrame(series)
    _check_texts(table, where)
    _check_paths(table, where)
    table = table.with_columns(
        pl.Series("path", [posixpath.normpath(path) for path in table["path"]]),
        pl.col("sha256").str.to_lowercase(),
        *(pl.col(name).replace("", None).cast(pl.Int64) for name in INTEGER_COLUMNS),
    )
    _check_unique(table, where)
    return Manifest(table.select(list(SCHEMA)), Path(root).resolve())


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest and check that all its images exist.

    The file is UTF-8 (with or without a byte order mark), comma-separated, with one header row. Only `path` and `site`
    are required.

    Args:
        path: the CSV file.
        root: the folder that the column `path` is relative to; the folder of the CSV file if None.

    Raises:
        ManifestError: not such a file, a value that is not allowed, a missing image, a path that leaves the root.
    """
    header, rows = _read_csv(path)
    _check_columns(header, str(path))
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ManifestError(f"expected {len(header)} cells in row {number} of {path}, got {len(row)}")
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    manifest = make_manifest(columns, path.parent if root is None else root, where=str(path))
    missing = [str(image) for image in manifest.paths() if not image.is_file()]
    if missing:
        raise ManifestError(
            f"expected every image of {path} to exist under {manifest.root}, got {len(missing)} missing: "
            f"{_listed(missing)}; if the images lie in another folder, name it as root (--root)"
        )
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as CSV, atomically; paths stay relative to `manifest.root`.

    Where `path` lies in another folder than `manifest.root`, the file must be read with `root=manifest.root`. No cell
    can be taken for a formula by a spreadsheet: names may not begin like one and such a path gets `./` in front.

    Raises:
        ManifestError: a value that is not allowed.
    """
    make_manifest(manifest.table.to_dict(as_series=False), manifest.root, where=str(path))
    table = manifest.table.with_columns(
        pl.when(pl.col("path").str.contains(_FORMULA))
        .then(pl.lit("./") + pl.col("path"))
        .otherwise(pl.col("path"))
        .alias("path")
    )
    with atomic_write(path) as temporary:
        table.write_csv(temporary, line_terminator="\n", null_value="")


def with_hashes(manifest: Manifest, progress: Progress | None = None) -> Manifest:
    """Return the manifest with every unknown `sha256` worked out from the file.

    Raises:
        ManifestError: a path leaves the root.
        ImageError: a file cannot be read.
    """
    known = manifest.column("sha256")
    if all(known):
        return manifest
    hashes = []
    for index, (path, known_hash) in enumerate(zip(manifest.paths(), known, strict=True)):
        hashes.append(known_hash or sha256_of(path))
        if progress is not None:
            progress(index + 1, len(known))
    return Manifest(manifest.table.with_columns(pl.Series("sha256", hashes, dtype=pl.String)), manifest.root)


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a CSV file as text; blank lines are skipped."""
    if not path.is_file():
        raise ManifestError(f"expected a manifest (CSV file) at {path}, got no such file; `hemabridge index` makes one")
    if path.stat().st_size > MAX_BYTES:
        raise ManifestError(
            f"expected a manifest of at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,} in {path}"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"expected UTF-8 text in {path}, got other bytes ({error}); save it as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise ManifestError(f"expected comma-separated values in {path}, got a file that is not: {error}") from error
    if not rows:
        raise ManifestError(f"expected a header with the columns {','.join(SCHEMA)} in {path}, got an empty file")
    return rows[0], rows[1:]


def _check_columns(names: Sequence[str], where: str) -> None:
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise ManifestError(f"expected commas between the columns of {where}, got semicolons or tabs; save it as CSV")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ManifestError(f"expected each column once in {where}, got {_listed(repeated)} more than once")
    for name in names:
        if name not in SCHEMA:
            raise ManifestError(
                f"expected the columns {', '.join(SCHEMA)} in {where}, got {_shortened(name)}{_nearest(name)}"
            )
    missing = [name for name in ("path", "site") if name not in names]
    if missing:
        raise ManifestError(f"expected the columns path and site in {where}, got no {' and no '.join(missing)}; add it")


def _nearest(name: str) -> str:
    lower = name.strip().lower()
    near = difflib.get_close_matches(lower[:64], list(SCHEMA), n=1, cutoff=0.5)
    guess = lower if lower in SCHEMA else _SYNONYMS.get(lower, near[0] if near else None)
    return "; remove it" if guess is None else f"; did you mean {guess!r}?"


def _check_texts(table: pl.DataFrame, where: str) -> None:
    for name in SCHEMA:
        column = pl.col(name)
        _refuse(table, name, column.str.len_chars() > MAX_CELL_CHARACTERS, "a shorter text", where)
        _refuse(table, name, column.str.contains(r"[\x00-\x1f\x7f]"), "no control characters or line breaks", where)
    for name in NAME_COLUMNS:
        _refuse(table, name, pl.col(name).str.contains(_FORMULA), "no =, +, - or @ at the beginning", where)
        _refuse(table, name, pl.col(name).str.contains(r"^\s|\s$"), "no blanks around it", where)
    _refuse(table, "site", pl.col("site") == "", "the name of a site", where)
    _refuse(table, "sha256", ~pl.col("sha256").str.contains(r"^(|[0-9a-fA-F]{64})$"), "64 hexadecimal digits", where)
    for name in INTEGER_COLUMNS:
        wrong = (pl.col(name) != "") & ~pl.col(name).str.contains(_INTEGER)
        _refuse(table, name, wrong, "a positive whole number of pixels, or nothing", where)


def _check_paths(table: pl.DataFrame, where: str) -> None:
    path = pl.col("path")
    _refuse(table, "path", path == "", "the path of an image", where)
    _refuse(table, "path", path.str.contains(r"\\"), "/ between folders, not \\", where)
    outside = path.str.contains(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)")
    wanted = "a path inside of the manifest's folder (no .., not absolute); to read from another folder name it as root"
    _refuse(table, "path", outside, f"{wanted} (--root)", where)


def _check_unique(table: pl.DataFrame, where: str) -> None:
    repeated = table.filter(pl.col("path").is_duplicated()).get_column("path").unique(maintain_order=True).to_list()
    if repeated:
        raise ManifestError(
            f"expected each image once in {where}, got {len(repeated)} path(s) more than once: {_listed(repeated)}; "
            "remove the repeated rows"
        )


def _refuse(table: pl.DataFrame, name: str, wrong: pl.Expr, wanted: str, where: str) -> None:
    """Raise for the first row where `wrong` holds."""
    rows = table.select(wrong.fill_null(False).arg_true()).to_series()
    if rows.len():
        row = int(rows[0])
        got = _shortened(table.get_column(name)[row])
        raise ManifestError(f"expected {wanted} in column {name}, got {got} in row {row + 1} of {where}")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(_shortened(name) for name in names[:_SHOWN]) + more


def _is_inside(root: str, path: str) -> bool:
    return os.path.realpath(os.path.join(root, path)).startswith(root.rstrip(os.sep) + os.sep)
