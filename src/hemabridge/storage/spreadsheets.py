"""Text in tables that people open in a spreadsheet, which must not take it for a formula (CWE-1236)."""

import polars as pl

FORMULA = r"^[=+\-@]"
"""What a spreadsheet takes for the beginning of a formula."""

_MARKED = tuple("=+-@\t\r\n'")
_MARK = "'"


def as_cell(text: str) -> str:
    """Put an apostrophe before a text that begins as a formula does, with a blank of another kind, or with one itself.

    Spreadsheets show what follows it as text. `from_cell` gives back any text that came this way.

    >>> as_cell("=1+1"), as_cell("a=1"), as_cell("'quoted'")
    ("'=1+1", 'a=1', "''quoted'")
    """
    return _MARK + text if text.startswith(_MARKED) else text


def from_cell(cell: str) -> str:
    """Return the text that `as_cell` wrote.

    >>> from_cell("'=1+1"), from_cell("a=1")
    ('=1+1', 'a=1')
    """
    return cell.removeprefix(_MARK)


def as_cells(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with `as_cell` of all its text; null stays null."""
    return table.with_columns(
        pl.when(pl.any_horizontal(pl.col(name).str.starts_with(mark) for mark in _MARKED))
        .then(pl.lit(_MARK) + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name, kind in table.schema.items()
        if kind == pl.String
    )


def from_cells(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with `from_cell` of all its text; null stays null."""
    return table.with_columns(pl.selectors.string().str.strip_prefix(_MARK))
