"""`hemabridge check`: serves the page on which an expert checks a count, and counts again with the corrections."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from hemabridge.errors import InputError
from hemabridge.evaluation.differential_results import FILE, DifferentialResults
from hemabridge.review.check_app import make_check_app
from hemabridge.review.check_pages import Checking
from hemabridge.review.corrections import STORE, Corrections
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import hold_folder
from hemabridge.storage.spreadsheets import as_cells
from hemabridge.workflows.differential.count import FOUND
from hemabridge.workflows.differential.differential import HISTORY, LABELS, PAGE
from hemabridge.workflows.differential.written import write_results
from hemabridge.workflows.review.serve import serve_app

HOST: Final = "127.0.0.1"
"""Other computers do not reach the page."""


def check(out: Path, *, who: str, language: str, port: int, ready: Callable[[str], None]) -> DifferentialResults:
    """Serve the page until the expert has finished, or until SIGINT or SIGTERM; then write tables and report again.

    Args:
        out: the folder that `differential` wrote.
        who: name of the expert, which is kept with each answer.
        language: of the page, `en` or `es`; the report has that in which the page is left.
        port: 0 takes a free one.
        ready: called with the address of the page once it can be opened.

    Raises:
        InputError: there is no count, the name is empty, or the port cannot be listened on.
        RunError: the store is damaged, or another process works in the folder.
    """
    if not (out / FILE).is_file():
        raise InputError(
            f"expected the folder of a count with {FILE}, got {out}; run "
            f"`hemabridge differential MODEL FIELDS {out}` first"
        )
    if not who.strip():
        raise InputError("expected the name of the expert, got an empty one; give it by --name")
    with hold_folder(out), Corrections(out / PAGE / STORE) as corrections:
        results = DifferentialResults.read(out / FILE)
        checking = Checking(results, out, corrections, who.strip(), secrets.token_urlsafe(24), language)
        try:
            serve_app(
                make_check_app(checking),
                HOST,
                port,
                lambda address: ready(f"{address}/r/{checking.token}/"),
                checking.finished,
            )
        finally:
            done = checking.now()
            _write(done, corrections, out, checking.language)
    return done


def _write(done: DifferentialResults, corrections: Corrections, out: Path, language: str) -> None:
    """Write the count with its corrections, the labels and the history."""
    with atomic_write(out / FILE) as temporary:
        temporary.write_text(done.to_json(), encoding="utf-8")
    write_results(done, out, language)
    labels = [(cell.path.removeprefix(f"{FOUND}/"), cell.expert) for cell in done.cells if cell.expert is not None]
    _write_table(labels, ("path", "class"), out / LABELS)
    history = [(f"{one.at:.0f}", one.who, one.cell, one.class_name or "", one.before) for one in corrections.history()]
    _write_table(history, ("at", "who", "path", "class", "before"), out / HISTORY)


def _write_table(rows: Sequence[tuple[str, ...]], columns: tuple[str, ...], path: Path) -> None:
    with atomic_write(path) as temporary:
        table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
        as_cells(table).write_csv(temporary, line_terminator="\n")
