"""Tables on the console that can be read at 80 columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # takes a moment to import, and `--help` must not wait for it
    from rich.table import Table


def new_table(title: str, words: Sequence[str], figures: Sequence[str]) -> "Table":
    """Return an empty table: columns of words, which are folded where they must, then of figures, which never are.

    It has no lines between columns, to leave the room to what it says.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        table.add_column(heading, no_wrap=True, justify="right")
    return table
