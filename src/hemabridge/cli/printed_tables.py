"""Tables on the console that can be read at 80 columns."""

from collections.abc import Iterable, Sequence


def print_table(title: str, words: Sequence[str], figures: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of columns of words, which are folded where they must be, and then of figures, which never are.

    No word is broken where all longest ones fit. There are no lines between columns, to leave them the room.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        table.add_column(heading, no_wrap=True, justify="right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if console.measure(table, options=console.options.update(width=1000)).minimum <= console.width:
        for column in table.columns[: len(words)]:
            column.min_width = max(len(word) for cell in (column.header, *column.cells) for word in str(cell).split())
    console.print(table)
