"""What several commands print: tables that fit 80 columns, unused files, and the summary of a manifest."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemabridge.data.listing import LeftOut
    from hemabridge.data.manifest import Manifest

_SHOWN = 3
_QUOTED = re.compile(r"'[^']*'|\\d+")


def print_table(title: str, words: Sequence[str], figures: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: first columns of words, whose cells may be wrapped, then columns of numbers, which are not.

    Where the longest words of all columns fit, no word is broken. There are no lines between columns, to save width.

    Args:
        title: above the table.
        words: headings of the columns of words.
        figures: headings of the columns of numbers.
        rows: cells of each row, words first.
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


def print_left_out(kinds: "Iterable[LeftOut]") -> None:
    """Print one line for each kind of file that is not used as input."""
    for left in kinds:
        print(f"left out: {left}", file=sys.stderr)


def print_left_out_of(*folders: Path) -> None:
    """List folders of input images, and print one line for each kind of file in them that is not used as input."""
    from hemabridge.data.listing import list_images

    for folder in folders:
        if folder.is_dir():
            found = list_images(folder)
            links = len(found.links_out)
            if links:
                print(
                    f"left out: {links} links out of the folder: {', '.join(found.links_out[:_SHOWN])}", file=sys.stderr
                )
            print_left_out(found.left_out)


def print_unusable(files: Iterable[tuple[str, str]], word: str = "left out") -> None:
    """Print files that cannot be used, given as path and reason: one line for each reason, with the first files."""
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in files:
        reasons[_QUOTED.sub("", reason)].append((path, reason))
    for alike in reasons.values():
        names = ", ".join(path for path, _ in alike[:_SHOWN])
        more = f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
        print(f"{word}: {names}{more}: {alike[0][1]}", file=sys.stderr)


def summary_of(manifest: "Manifest") -> str:
    """Return one line: the classes with their counts, and the numbers of known patients and slides."""
    classes = Counter(manifest.column("class"))
    named = ", ".join(f"{name} {count}" for name, count in sorted(classes.items()) if name)
    parts = [f"Classes: {named or 'none'}" + (f"; {classes['']} without a class" if named and classes[""] else "")]
    for column in ("patient", "slide"):
        known = set(manifest.column(column)) - {""}
        if known:
            parts.append(f"{len(known)} {column}{'s' * (len(known) > 1)}")
    return "; ".join(parts) + "."
