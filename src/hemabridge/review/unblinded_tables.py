"""Tables of unblinded results for a spreadsheet, with cells that are never formulas."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Final

from hemabridge.evaluation.reading import Reading
from hemabridge.review.records import Item, Verdict
from hemabridge.storage.spreadsheets import as_cell

READER_SCORES: Final = "reader-scores.csv"
"""The table for `hemabridge select --readers`, with the columns snapshot and accepted."""

TABLES: Final = (
    "verdicts.csv",
    "agreement.csv",
    "repeats.csv",
    "arms.csv",
    "told-apart.csv",
    "preferences.csv",
    "sessions.csv",
    "trends.csv",
    READER_SCORES,
)

_PAIRS: Final = {"interval": ("low", "high"), "seconds": ("lower", "median", "upper")}


def tables_of(reading: Reading, items: Sequence[Item], verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return CSV texts by file name; empty tables are omitted.

    `verdicts.csv` holds every verdict with its arms, including practice; the others hold the rows of `Reading`.
    """
    rows: tuple[Sequence[Any], ...] = (
        reading.agreement,
        reading.repeats,
        reading.scores,
        reading.discrimination,
        reading.preferred,
        reading.stretches,
        reading.trends,
        reading.acceptance,
    )
    lines = [list(_joined(items, verdicts)), *([flat(row) for row in own] for own in rows)]
    texts = {name: _csv(own) for name, own in zip(TABLES, lines, strict=True)}
    return {name: text for name, text in texts.items() if text}


def flat(row: Any) -> dict[str, Any]:
    """Return a dataclass of results as one row: an estimate takes three cells, readers are joined by semicolons."""
    line: dict[str, Any] = {}
    for name in row.__dataclass_fields__:
        value = getattr(row, name)
        if is_dataclass(value) and not isinstance(value, type):
            parts = asdict(value)
            line |= {name: parts["value"], **_ends(f"{name}_", "interval", parts["interval"])}
        elif value is None and name in ("weighted", "difference"):
            line |= {name: None, **_ends(f"{name}_", "interval", None)}
        elif name in _PAIRS:
            line |= _ends("" if name == "interval" else f"{name}_", name, value)
        else:
            line[name] = "; ".join(value) if isinstance(value, tuple) else value
    return line


def _ends(prefix: str, name: str, values: Sequence[float] | None) -> dict[str, float | None]:
    keys = _PAIRS[name]
    if values is None:
        return {f"{prefix}{key}": None for key in keys}
    return {f"{prefix}{key}": value for key, value in zip(keys, values, strict=True)}


def _joined(items: Sequence[Item], verdicts: Sequence[Verdict]) -> Iterable[dict[str, Any]]:
    key = {item.item: item for item in items}
    for verdict in verdicts:
        item = key[verdict.item]
        x, y = verdict.place or (None, None)
        yield {
            "reader": verdict.reader,
            "order": verdict.order,
            "item": verdict.item,
            "shown": item.shown,
            "question": item.question.value,
            "answer": verdict.answer,
            "x": x,
            "y": y,
            "seconds": verdict.seconds,
            "arm": item.arms[0],
            "second_arm": item.arms[1] if len(item.arms) > 1 else None,
            "cell": item.cell,
            "cell_type": item.cell_type,
            "site": item.site,
            "repeat_of": item.repeat_of,
            "practice": item.practice,
        }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: as_cell(v) if isinstance(v, str) else v for name, v in row.items()} for row in rows)
    return text.getvalue()
