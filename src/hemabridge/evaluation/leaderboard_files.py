"""The leaderboard as files for a spreadsheet and for a paper."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hemabridge.evaluation.leaderboard_entries import LeaderboardEntry
from hemabridge.evaluation.results import Row, StudyResults
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cell

CSV_NAME, LATEX_NAME = "leaderboard.csv", "leaderboard.tex"

_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def write_leaderboard(results: StudyResults, folder: Path) -> None:
    """Write `leaderboard.csv` with all numbers, and `leaderboard.tex`, a table for a paper.

    Lines are sorted by the number of labels, then by balanced accuracy, the highest first. The LaTeX needs the
    package `booktabs`. A study without a leaderboard gets no file.
    """
    if not results.leaderboard:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((CSV_NAME, leaderboard_csv(results)), (LATEX_NAME, leaderboard_latex(results))):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="replace", newline="")


def ranked(results: StudyResults) -> list[tuple[Row, LeaderboardEntry]]:
    """Return rows with their entries, sorted by labels, then by balanced accuracy, then in the order of the rows."""
    rows = {(r.site, r.classifier, r.images, r.snapshot, r.labels_used): r for r in results.rows if r.part == "test"}
    found = [(rows[s.site, s.classifier, s.images, s.snapshot, s.labels_used], s) for s in results.leaderboard]
    return sorted(found, key=lambda pair: (pair[0].labels_used, -pair[0].balanced_accuracy))


def leaderboard_csv(results: StudyResults) -> str:
    """Return the leaderboard as CSV; no spreadsheet can take a cell for a formula."""
    lines = [_flat(row, entry) for row, entry in ranked(results)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: as_cell(v) if isinstance(v, str) else v for name, v in line.items()} for line in lines)
    return text.getvalue()


def leaderboard_latex(results: StudyResults) -> str:
    """Return the leaderboard as a LaTeX table, in percent with 95% intervals."""
    rows = ranked(results)
    first = rows[0][1]
    unit = f"{first.unit}s" if first.unit == "patient" else "cells within their class"
    caption = (
        f"Scored on {rows[0][0].n} cells of {escaped(first.site)}. Accuracy with its Wilson interval, balanced "
        f"accuracy with a bootstrap interval over {unit}; $p$: exact McNemar test against the originals without "
        "labels, Holm-corrected."
    )
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{caption.replace('%', chr(92) + '%')}}}",
        r"\begin{tabular}{llrllrrr}",
        r"\toprule",
        r"Classifier & Images & Labels & Balanced accuracy & Accuracy & Rescued & Broken & $p$ \\",
        r"\midrule",
        *(_latex_line(row, entry) for row, entry in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text with escapes, so that LaTeX prints it unchanged; line breaks become spaces."""
    return " ".join(text.split()).translate(_LATEX)


def _latex_line(row: Row, entry: LeaderboardEntry) -> str:
    against = entry.against
    images = row.images if row.snapshot is None else f"{row.images} {row.snapshot}"
    tested = ("--", "--", "--") if against is None else (against.rescued, against.broken, _p(against.p_holm))
    cells: Sequence[object] = (
        escaped(row.classifier),
        escaped(images),
        row.labels_used,
        _with_interval(row.balanced_accuracy, entry.balanced_interval),
        _with_interval(row.accuracy, row.interval),
        *tested,
    )
    return " & ".join(map(str, cells)) + r" \\"


def _p(p: float) -> str:
    return "$<$0.001" if p < 0.001 else f"{p:.3f}"


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{100 * value:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _flat(row: Row, entry: LeaderboardEntry) -> dict[str, Any]:
    """Return one line of the CSV: names, then numbers; None where there is none."""
    line: dict[str, Any] = {
        "site": row.site,
        "classifier": row.classifier,
        "variant_of": entry.variant_of,
        "images": row.images,
        "snapshot": row.snapshot,
        "labels_used": row.labels_used,
        "mode": row.mode,
        "seed": row.seed,
        "n": row.n,
        "bootstrap_unit": entry.unit,
        "bootstrap_units": entry.units,
        "accuracy": row.accuracy,
        **_ends("accuracy_wilson", row.interval),
        **_ends("accuracy_bootstrap", entry.accuracy_interval),
        "balanced_accuracy": row.balanced_accuracy,
        **_ends("balanced_accuracy", entry.balanced_interval),
        "ece": entry.calibration.ece,
        "brier": entry.calibration.brier,
        "temperature": entry.calibration.temperature,
        "ece_scaled": entry.calibration.ece_scaled,
        "brier_scaled": entry.calibration.brier_scaled,
        "risk_coverage_area": entry.risk,
    }
    return (
        line
        | _against_cells(entry)
        | _flip_cells(entry)
        | _spread_cells(entry)
        | {f"recall {name}": value for name, value in row.recall.items()}
    )


def _against_cells(entry: LeaderboardEntry) -> dict[str, Any]:
    found = entry.against
    return {
        "rescued": found and found.rescued,
        "broken": found and found.broken,
        "p": found and found.p,
        "p_holm": found and found.p_holm,
        "accuracy_difference": found and found.accuracy,
        **_ends("accuracy_difference", None if found is None else found.accuracy_interval),
        "balanced_difference": found and found.balanced_accuracy,
        **_ends("balanced_difference", None if found is None else found.balanced_interval),
        "smallest_difference": found and found.smallest_difference,
    }


def _flip_cells(entry: LeaderboardEntry) -> dict[str, Any]:
    found = entry.flips
    return {
        "majority": found and found.majority,
        "flips_towards": found and found.towards,
        "flips_away": found and found.away,
        "flips_broken": found and found.broken,
        "flips_rightly": found and found.rightly,
        "flips_p_holm": found and found.p_holm,
    }


def _spread_cells(entry: LeaderboardEntry) -> dict[str, Any]:
    found = entry.spread
    return {
        "seeds": None if found is None else " ".join(map(str, found.seeds)),
        "accuracy_mean": found and found.accuracy,
        "accuracy_sd": found and found.accuracy_sd,
        "balanced_mean": found and found.balanced_accuracy,
        "balanced_sd": found and found.balanced_sd,
    }


def _ends(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
