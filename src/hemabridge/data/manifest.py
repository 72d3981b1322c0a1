"""The manifest: one CSV file with the site, class, patient, slide and split of each image.

Paths are relative to one folder, the manifest's *root*. It is the folder of the CSV file, or the one that is given
(`read_manifest(path, root=...)`, `--root` on the command line). No file outside of the root is ever opened: absolute
paths, `..` and symbolic links that leave the root are refused. `write_manifest` does not change the paths, so a
manifest that was written to another folder than its root must be read with `root`.
"""

import os
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hemabridge.data.columns import (
    INTEGER_COLUMNS,
    SCHEMA,
    check_columns,
    check_paths,
    check_texts,
    check_unique,
    listed,
)
from hemabridge.data.listing import is_image_name
from hemabridge.errors import ManifestError
from hemabridge.progress import FileProgress
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, sha256_of
from hemabridge.storage.spreadsheets import FORMULA

INDEX_COMMAND: Final = "hemabridge index FOLDER --site SITE"
"""The command that makes a manifest."""

SPLIT_COMMAND: Final = "hemabridge split MANIFEST --replace"
"""The command that splits a manifest again."""

_STATED_SEPARATOR = re.compile(r"sep=([,;\t])[,;\t]*\r?\n", re.IGNORECASE)
_WHOLE = r"^([0-9]+)[.,]0+$"

_MANIFEST: Final = FileKind(
    "a manifest (CSV file, UTF-8)", ManifestError, "save it as CSV UTF-8", largest_bytes=200_000_000
)


@dataclass(frozen=True, eq=False)
class Manifest:
    """Images of one or several sites. `read_manifest` reads one; `Manifest.from_polars` makes one.

    Attributes:
        table: one row per image with the columns of `SCHEMA`.
        root: the folder that `path` is relative to.

    Example:
        >>> import polars as pl
        >>> import hemabridge as hb
        >>> table = pl.DataFrame({"path": ["a.png", "b.png"], "site": "ours", "class": ["monocyte", "basophil"]})
        >>> manifest = hb.Manifest.from_polars(table, "images")
        >>> manifest.select(pl.col("class") == "basophil").column("path")
        ['b.png']
    """

    table: pl.DataFrame
    root: Path

    def __post_init__(self) -> None:
        if self.table.schema != SCHEMA:
            raise ManifestError(f"expected a table with the columns {dict(SCHEMA)}, got {dict(self.table.schema)}")

    def __len__(self) -> int:
        return self.table.height

    @classmethod
    def from_polars(cls, table: pl.DataFrame, root: Path | str) -> "Manifest":
        """Make a manifest from a table; the columns that it lacks are unknown. The images need not exist.

        Args:
            table: one row per image, at least with the text columns `path` (relative to `root`, with `/`) and `site`;
                of the other columns of `SCHEMA` those that are known. Null or an empty text: unknown.
            root: the folder that `path` is relative to.

        Raises:
            ManifestError: no rows, an unknown or a missing column, a value that is not allowed, the same path twice.
        """
        if not isinstance(table, pl.DataFrame):
            raise ManifestError(
                f"expected a polars DataFrame, got {type(table).__name__}; read a file with hemabridge.read_manifest"
            )
        return make_manifest(table.to_dict(as_series=False), Path(root), where="the table")

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
                f"expected paths inside of {root}, got {listed(outside)} that lead(s) out of it; "
                "give the folder of all images as root (--root)"
            )
        return [Path(root, path) for path in paths]


def make_manifest(columns: Mapping[str, Sequence[Any]], root: Path, *, where: str = "the manifest") -> Manifest:
    """Build a manifest from columns; columns that are not given are unknown.

    Args:
        columns: at least `path` (relative to `root`, with `/`) and `site`. Text columns hold strings, the empty string
            for unknown; `width`, `height`, `crop_px` hold positive integers (also as text), None or "" for unknown.
        root: the folder that `path` is relative to.
        where: the manifest's name in error messages.

    Raises:
        ManifestError: no rows, an unknown or a missing column, a value that is not allowed, the same path twice.
    """
    check_columns(list(columns), where)
    count = len(columns["path"])
    if count == 0:
        raise ManifestError(f"expected at least one image in {where}, got none")
    series = {
        name: pl.Series(name, [_text(value) for value in columns.get(name, [""] * count)], dtype=pl.String)
        for name in SCHEMA
    }
    table = pl.DataFrame(series).with_columns(pl.col(*INTEGER_COLUMNS).str.replace(_WHOLE, "$1"))  # Excel writes 96.0
    check_texts(table, where)
    check_paths(table, where)
    table = table.with_columns(
        pl.Series("path", [posixpath.normpath(path) for path in table["path"]]),
        pl.col("sha256").str.to_lowercase(),
        *(pl.col(name).replace("", None).cast(pl.Int64) for name in INTEGER_COLUMNS),
    )
    check_unique(table, where)
    return Manifest(table.select(list(SCHEMA)), Path(root).resolve())


def read_manifest(path: Path | str, root: Path | str | None = None) -> Manifest:
    """Read a manifest and check that all its images exist.

    The file is UTF-8 (with or without a byte order mark) or UTF-16, with one header row. The separator is that of the
    header: a comma, a semicolon (from spreadsheets where the decimal sign is a comma) or a tab. Only `path` and `site`
    are required.

    Args:
        path: the CSV file.
        root: the folder that the column `path` is relative to; the folder of the CSV file if None.

    Raises:
        ManifestError: no such file, a value that is not allowed, a missing image, a path that leaves the root.

    Example:
        >>> import tempfile
        >>> import polars as pl
        >>> from PIL import Image
        >>> import hemabridge as hb
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30)).save(f"{folder}/cell.png")
        ...     table = pl.DataFrame({"path": ["cell.png"], "site": ["ours"], "class": ["lymphocyte"]})
        ...     table.write_csv(f"{folder}/manifest.csv")
        ...     manifest = hb.read_manifest(f"{folder}/manifest.csv")
        >>> manifest.table.select("path", "site", "class").rows()
        [('cell.png', 'ours', 'lymphocyte')]
    """
    manifest = read_listed(Path(path), root)
    if missing := missing_images(manifest):
        raise ManifestError(
            f"expected every image of {path} to exist under {manifest.root}, got {len(missing)} missing: "
            f"{listed(missing)}; if the images are in another folder, give it as root (--root)"
        )
    return manifest


def read_listed(path: Path, root: Path | str | None = None) -> Manifest:
    """Read a manifest as `read_manifest` does, whether or not its images exist."""
    header, rows = _read_csv(path)
    check_columns(header, str(path))
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    return make_manifest(columns, path.parent if root is None else Path(root), where=str(path))


def missing_images(manifest: Manifest) -> list[str]:
    """Return the paths of a manifest, relative to its root, at which there is no file."""
    images = zip(manifest.column("path"), manifest.paths(), strict=True)
    return [name for name, image in images if not os.path.isfile(image)]


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as CSV, atomically; paths stay relative to `manifest.root`.

    If `path` is in another folder than `manifest.root`, the file must be read with `root=manifest.root`. No spreadsheet
    can take a cell for a formula: names must not begin like one, and `./` is put before such a path.

    Raises:
        ManifestError: a value that is not allowed.
    """
    make_manifest(manifest.table.to_dict(as_series=False), manifest.root, where=str(path))
    table = manifest.table.with_columns(
        pl.when(pl.col("path").str.contains(FORMULA))
        .then(pl.lit("./") + pl.col("path"))
        .otherwise(pl.col("path"))
        .alias("path")
    )
    with atomic_write(path) as temporary:
        table.write_csv(temporary, line_terminator="\n", null_value="")


def with_hashes(manifest: Manifest, progress: FileProgress | None = None) -> Manifest:
    """Return the manifest with every unknown `sha256` computed from the file.

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


def _index_command(folder: Path) -> str:
    """Return the command that makes a folder's manifest, ready for a shell."""
    return shlex.join(["hemabridge", "index", str(folder), "--site", folder.resolve().name or "site"])


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a CSV file as text; blank lines are skipped."""
    if path.is_dir():
        own = path / "manifest.csv"
        hint = f"give {own}" if own.is_file() else f"run `{_index_command(path)}` first, which writes one"
        raise ManifestError(f"expected a manifest (CSV file), got the folder {path}; {hint}")
    if not path.is_file():
        raise ManifestError(f"expected a manifest (CSV file) at {path}, got no such file; make one: `{INDEX_COMMAND}`")
    if is_image_name(path):
        raise ManifestError(f"expected a manifest (CSV file), got the image {path}; make one: `{INDEX_COMMAND}`")
    text = _MANIFEST.read_text(path, utf16=True)
    stated = _STATED_SEPARATOR.match(text)
    mark = _separator(text) if stated is None else stated[1]
    text = text if stated is None else text[stated.end() :]
    kind = replace(_MANIFEST, what=f"a manifest of values separated by {mark!r}, as those of its header are")
    rows = [row for row in kind.parse_csv(text, path, separator=mark) if any(row)]
    if not rows:
        raise ManifestError(f"expected a header with the columns {','.join(SCHEMA)} in {path}, got an empty file")
    header, *cells = rows
    cells = [row[: len(header)] if not any(row[len(header) :]) else row for row in cells]
    for number, row in enumerate(cells, start=1):
        if len(row) != len(header):
            raise ManifestError(
                f"expected {len(header)} cells in row {number} of {path}, separated by {mark!r}, as its header is, "
                f"got {len(row)}"
            )
    kept = [place for place, name in enumerate(header) if name.strip() or any(row[place].strip() for row in cells)]
    return [header[place] for place in kept], [[row[place] for place in kept] for row in cells]


def _separator(text: str) -> str:
    """Return the separator of a header; no column name contains one of these characters."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def _is_inside(root: str, path: str) -> bool:
    return os.path.realpath(os.path.join(root, path)).startswith(root.rstrip(os.sep) + os.sep)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
