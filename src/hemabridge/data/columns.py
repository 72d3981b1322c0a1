"""The columns of a manifest and their permitted content; the checks of every manifest from outside."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence

import polars as pl

from hemabridge.errors import ManifestError
from hemabridge.imaging.provenance import ORIGIN_PATTERN
from hemabridge.storage.spreadsheets import FORMULA

NAME_COLUMNS = ("site", "class", "patient", "slide", "split")
INTEGER_COLUMNS = ("width", "height", "crop_px")
SCHEMA = pl.Schema(
    {
        "path": pl.String(),
        **{name: pl.String() for name in NAME_COLUMNS},
        "sha256": pl.String(),
        **{name: pl.Int64() for name in INTEGER_COLUMNS},
        "origin": pl.String(),
    }
)
"""All columns, in order. An unknown text is the empty string, an unknown integer is null. `origin` is empty for a
real image, and states the model and the source of a synthetic one (`imaging/provenance.py`)."""

MAX_CELL_CHARACTERS = 4_096
"""Longest cell that is read, in characters: the largest length of a path."""

_OUTSIDE = r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)"
_BLANKS_AROUND = r"^\s|\s$"
_NO_FORMULA = "no =, +, - or @ at the beginning"
_NO_BLANKS = "no blanks around it"
_SHOWN = 5
_INTEGER = r"^[1-9][0-9]{0,8}$"
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


def check_columns(names: Sequence[str], where: str) -> None:
    """Check that a header has known columns, each once, and the required ones.

    Raises:
        ManifestError: it has not; for an unknown column the message proposes the most similar name.
    """
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ManifestError(f"expected each column once in {where}, got {listed(repeated)} more than once")
    for name in names:
        if name not in SCHEMA:
            raise ManifestError(
                f"expected the columns {', '.join(SCHEMA)} in {where}, got {_shortened(name)}{_nearest(name)}"
            )
    missing = [name for name in ("path", "site") if name not in names]
    if missing:
        raise ManifestError(f"expected the columns path and site in {where}, got no {' and no '.join(missing)}; add it")


def check_texts(table: pl.DataFrame, where: str) -> None:
    """Check that each cell of a table of text has content that its column permits.

    Raises:
        ManifestError: one has not; the message has the column, the row (from 1, without header) and the text.
    """
    rules = [
        rule
        for name in SCHEMA
        for rule in (
            (name, pl.col(name).str.len_chars() > MAX_CELL_CHARACTERS, "a shorter text"),
            (name, pl.col(name).str.contains(r"[\x00-\x1f\x7f]"), "no control characters or line breaks"),
        )
    ]
    for name in NAME_COLUMNS:
        rules.append((name, pl.col(name).str.contains(FORMULA), _NO_FORMULA))
        rules.append((name, pl.col(name).str.contains(_BLANKS_AROUND), _NO_BLANKS))
    rules.append(("site", pl.col("site") == "", "the name of a site"))
    rules.append(("sha256", ~pl.col("sha256").str.contains(r"^(|[0-9a-fA-F]{64})$"), "64 hexadecimal digits"))
    wanted = "nothing for a photograph, or synthetic (with model, source and recipe, as synthesis writes it)"
    rules.append(("origin", ~pl.col("origin").str.contains(ORIGIN_PATTERN), wanted))
    for name in INTEGER_COLUMNS:
        wrong = (pl.col(name) != "") & ~pl.col(name).str.contains(_INTEGER)
        rules.append((name, wrong, "a positive whole number of pixels, or nothing"))
    _refuse(table, rules, where)


def check_paths(table: pl.DataFrame, where: str) -> None:
    """Check that each path stays inside of the folder to which it is relative.

    Raises:
        ManifestError: a path is empty, absolute, or contains `..` or a backslash.
    """
    path = pl.col("path")
    wanted = "a path inside of the manifest's folder (no .., not absolute); to read from another folder give it as root"
    rules = [
        ("path", path == "", "the path of an image"),
        ("path", path.str.contains(r"\\"), "/ between folders, not \\"),
        ("path", path.str.contains(_OUTSIDE), f"{wanted} (--root)"),
    ]
    _refuse(table, rules, where)


def reason_against_name(name: str) -> str | None:
    """Return the reason why a name of a site, class, patient or slide is not valid; None if it is.

    >>> reason_against_name("=a"), reason_against_name("monocyte")
    ('expected no =, +, - or @ at the beginning', None)
    """
    if re.search(FORMULA, name):
        return f"expected {_NO_FORMULA}"
    return f"expected {_NO_BLANKS}" if re.search(_BLANKS_AROUND, name) else None


def reason_against_path(path: str) -> str | None:
    """Return the reason why a path is not valid in a manifest; None if it is.

    >>> reason_against_path("C:evil.jpg")
    'expected a name that is not that of a drive and not absolute'
    """
    return "expected a name that is not that of a drive and not absolute" if re.search(_OUTSIDE, path) else None


def check_unique(table: pl.DataFrame, where: str) -> None:
    """Check that no path is in two rows.

    Raises:
        ManifestError: a path is repeated.
    """
    repeated = table.filter(pl.col("path").is_duplicated()).get_column("path").unique(maintain_order=True).to_list()
    if repeated:
        raise ManifestError(
            f"expected each image once in {where}, got {len(repeated)} path(s) more than once: {listed(repeated)}; "
            "remove the repeated rows"
        )


def listed(names: Sequence[str]) -> str:
    """Return the first few names, shortened, and the number of further ones."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(_shortened(name) for name in names[:_SHOWN]) + more


def _nearest(name: str) -> str:
    lower = name.strip().lower()
    near = difflib.get_close_matches(lower[:64], list(SCHEMA), n=1, cutoff=0.5)
    guess = lower if lower in SCHEMA else _SYNONYMS.get(lower, near[0] if near else None)
    return "; remove it" if guess is None else f"; did you mean {guess!r}?"


def _refuse(table: pl.DataFrame, rules: Sequence[tuple[str, pl.Expr, str]], where: str) -> None:
    """Raise an error for the first rule (column, what is wrong, what is expected) that a row breaks.

    All rules are asked at once: 40 queries of a small table would take longer than to read it.
    """
    broken = table.select(wrong.fill_null(False).any().alias(str(n)) for n, (_, wrong, _) in enumerate(rules)).row(0)
    for (name, wrong, wanted), is_broken in zip(rules, broken, strict=True):
        if is_broken:
            row = int(table.select(wrong.fill_null(False).arg_true()).to_series()[0])
            got = _shortened(table.get_column(name)[row])
            raise ManifestError(f"expected {wanted} in column {name}, got {got} in row {row + 1} of {where}")


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
