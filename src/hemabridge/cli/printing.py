"""The output of commands: tables that fit 80 columns, unused files, and the summary of a manifest."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemabridge.data.listing import LeftOut
    from hemabridge.data.manifest import Manifest
    from hemabridge.evaluation.results import Row
    from hemabridge.models.selection_file import Selection
    from hemabridge.models.site_answer import SiteAnswer

_SHOWN = 3
MANY_UNKNOWN = 0.2
"""Share of images that show no single leukocyte from which the scale is more likely wrong."""
SHOWN_TINT = 0.005
"""Share of cells with tinted glass from which the table of a selection has a column for it."""


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


def print_rows(title: str, rows: "Sequence[Row]") -> None:
    """Print a table for each site. The column of labels is left out where none were used, to fit 80 columns."""
    sites = list(dict.fromkeys(row.site for row in rows))
    for site in sites:
        of_site = [row for row in rows if row.site == site]
        labels = ["labels"] if any(row.labels_used for row in of_site) else []
        print_table(
            f"{title}: {site}" if len(sites) > 1 else title,
            ["classifier", "images"],
            [*labels, "accuracy", "balanced", "n"],
            [
                (
                    row.classifier,
                    row.snapshot or row.images,
                    *([str(row.labels_used)] if labels else []),
                    f"{row.accuracy:.3f} [{row.interval[0]:.2f}, {row.interval[1]:.2f}]",
                    f"{row.balanced_accuracy:.3f}",
                    str(row.n),
                )
                for row in of_site
            ],
        )


def print_selection(found: "Selection") -> None:
    """Print the measures of all snapshots, with a mark at the chosen one (*) and at those not to be used (x)."""
    rows = (found.original, *found.snapshots)
    measured = ("error", "disagreement", "readers")
    tints = any((row.tinted or 0) >= SHOWN_TINT for row in found.snapshots)
    optional = [name for name in measured if any(getattr(row, name) is not None for row in rows)]
    if "error" in optional and "disagreement" in optional:
        optional.remove("disagreement")  # not used by the choice if there are labels
    print_table(
        f"{found.run}: measured on {found.facts['cells of the source']} cells that are not scored",
        ["snapshot"],
        [
            *(name.replace("disagreement", "dis-\nagree") for name in optional),
            "stain",
            "refused",
            "kept",
            *["glass\ntinted"] * tints,
            "KID",
            "domain\nAUC",
            "chosen\nin",
        ],
        [
            (
                row.snapshot + (" *" if row.snapshot == found.chosen else "" if row.fit else " x"),
                *("" if (value := getattr(row, name)) is None else f"{value:.2f}" for name in optional),
                f"{row.stain:.2f}",
                f"{row.refused:.0%}",
                f"{row.kept:.2f}",
                *[f"{row.tinted or 0:.0%}"] * tints,
                f"{row.kid:.3f}",
                f"{row.domain_auc:.2f}",
                "" if row is found.original else f"{row.won:.0%}",
            )
            for row in rows
        ],
    )
    if not all(row.fit for row in found.snapshots):
        print(
            "x: do not use; the guard or readers refuse too many of its cells, or it keeps too little structure, or it "
            "tints empty glass."
        )
    value, (low, high) = found.kid_floor
    print(f"KID of one half of the target's cells to the other: {value:.3f} [{low:.3f}, {high:.3f}].")


def print_site(folder: Path, site: "SiteAnswer | None") -> None:
    """Print whether the images of a folder are in-distribution; if not, on standard error and with `CROP_ADVICE`.

    For commands with --crop-px. Nothing is printed if it is unknown.
    """
    from hemabridge.models.site_answer import CROP_ADVICE

    if site is not None and site.answer == "in-distribution":
        print(f"{folder}: {site.text}")
    elif site is not None:
        advice = f"; {CROP_ADVICE}" if site.answer == "out-of-distribution" else ""
        print(f"{folder}: {site.text}{advice}", file=sys.stderr)


def print_unknown(unknown: int, images: int) -> None:
    """Print that many images show no sharp single leukocyte, which may be a wrong scale; nothing if few do."""
    if unknown > MANY_UNKNOWN * images:
        print(
            f"{unknown} of {images} images are unknown, since they show no single, sharp leukocyte. If they do, "
            "their scale is not the one that was stated or learned: check --crop-px",
            file=sys.stderr,
        )


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
    """Print files that cannot be used, given as path and reason: one line for each reason; see `by_reason`."""
    from hemabridge.data.listing import by_reason

    for line in by_reason(files):
        print(f"{word}: {line}", file=sys.stderr)


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
