"""Text cells of CSV files, marked so that a spreadsheet does not run them as formulas (CWE-1236)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FORMULA = r"^[=+\-@]"
"""The beginning of a formula in a spreadsheet."""

_MARKED = tuple("=+-@\t\r\n'")
_MARK = "'"


def as_cell(text: str) -> str:
    """Put an apostrophe before a text that begins like a formula, with a tab or line end, or with an apostrophe.

    Spreadsheets show what follows the apostrophe as text. `from_cell` returns the original text.

    >>> as_cell("=1+1"), as_cell("a=1"), as_cell("'quoted'")
    ("'=1+1", 'a=1', "''quoted'")
    """
    return _MARK + text if text.startswith(_MARKED) else text


def from_cell(cell: str) -> str:
    """Return the original text of a cell that `as_cell` made.

    >>> from_cell("'=1+1"), from_cell("a=1")
    ('=1+1', 'a=1')
    """
    return cell.removeprefix(_MARK)


def as_cells(table: "pl.DataFrame") -> "pl.DataFrame":
    """Apply `as_cell` to all text of a table; null stays null."""
    import polars as pl  # slow to load, and not needed for single cells

    return table.with_columns(
        pl.when(pl.any_horizontal(pl.col(name).str.starts_with(mark) for mark in _MARKED))
        .then(pl.lit(_MARK) + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name, kind in table.schema.items()
        if kind == pl.String
    )


def from_cells(table: "pl.DataFrame") -> "pl.DataFrame":
    """Apply `from_cell` to all text of a table; null stays null."""
    import polars as pl

    return table.with_columns(pl.selectors.string().str.strip_prefix(_MARK))
