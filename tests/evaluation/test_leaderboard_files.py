import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hemabridge.errors import InputError
from hemabridge.evaluation.comparisons import compare, pairs_with_nothing_done
from hemabridge.evaluation.labels_saved import labels_saved
from hemabridge.evaluation.leaderboard import LeaderboardSettings, contrast_snapshots, make_leaderboard
from hemabridge.evaluation.leaderboard_entries import SeedSpread
from hemabridge.evaluation.leaderboard_files import (
    escaped,
    leaderboard_csv,
    leaderboard_latex,
    ranked,
    write_leaderboard,
)
from hemabridge.evaluation.paired_bootstrap import draw_scores
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import AuditFinding, StudyResults
from hemabridge.evaluation.rows import make_row

CLASSES = ("a", "b", "c")


@pytest.fixture
def results(runs: list[Predictions], make_run: Callable[..., Predictions]) -> StudyResults:
    runs = [*runs, make_run(runs[0].truth, classifier="=1+1 & 50%_$#{}~^\\")]
    board = make_leaderboard(
        runs,
        compare(pairs_with_nothing_done(runs, {})),
        draw_scores(runs, None, 0),
        LeaderboardSettings(CLASSES, {}, {"net": 1.5}, "a"),
    )
    board = (replace(board[0], spread=SeedSpread((0, 1), 0.5, 0.25, 0.4, 0.125)), *board[1:])
    rows = tuple(make_row(run, CLASSES, mode="strict", seed=7) for run in runs)
    return StudyResults("s", CLASSES, rows, leaderboard=board)


def test_the_whole_keeps_the_published_schema_and_reads_back(results: StudyResults, runs: list[Predictions]) -> None:
    draws = draw_scores(runs, None, 0)
    whole = replace(
        results,
        contrasts=contrast_snapshots(runs, draws),
        labels_saved=labels_saved(runs, draws),
        audit=(AuditFinding("warning", "Look at it."),),
    )
    assert whole.contrasts
    assert whole.labels_saved
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(json.loads(whole.to_json()))] == []
    assert StudyResults.from_json(whole.to_json()) == whole


@pytest.mark.parametrize("part", ["leaderboard", "contrasts", "labels_saved", "audit"])
def test_results_of_before_lack_what_is_newer_and_still_read(part: str, results: StudyResults) -> None:
    data = json.loads(results.to_json())
    del data[part]
    assert getattr(StudyResults.from_json(json.dumps(data)), part) == ()


def test_a_broken_line_of_the_leaderboard_is_refused(results: StudyResults) -> None:
    for change in ({"risk": "0.5"}, {"unit": "slide"}, {"extra": 1}, {"balanced_interval": [0.1]}, {"against": {}}):
        data = json.loads(results.to_json())
        data["leaderboard"][1].update(change)
        with pytest.raises(InputError, match="expected the results"):
            StudyResults.from_json(json.dumps(data))


def test_few_labels_and_high_balanced_accuracy_come_first(results: StudyResults) -> None:
    order = [(row.labels_used, -row.balanced_accuracy) for row, _ in ranked(results)]
    assert order == sorted(order)
    assert len(order) == len(results.rows)


def test_the_csv_holds_every_number_of_every_line(results: StudyResults) -> None:
    lines = list(csv.DictReader(io.StringIO(leaderboard_csv(results))))
    assert len(lines) == len(results.rows)
    for line, (row, entry) in zip(lines, ranked(results), strict=True):
        assert line["classifier"].removeprefix("'") == row.classifier
        assert float(line["accuracy"]) == row.accuracy
        assert (float(line["accuracy_wilson_low"]), float(line["accuracy_wilson_high"])) == row.interval
        assert float(line["balanced_accuracy_low"]) == entry.balanced_interval[0]
        assert float(line["ece"]) == entry.calibration.ece
        assert float(line["risk_coverage_area"]) == entry.risk
        assert {name: float(line[f"recall {name}"]) for name in CLASSES} == row.recall
        against = entry.against
        assert line["rescued"] == ("" if against is None else str(against.rescued))
        assert line["accuracy_difference_low"] == ("" if against is None else str(against.accuracy_interval[0]))
        assert line["flips_towards"] == ("" if entry.flips is None else str(entry.flips.towards))
        assert line["seeds"] == ("" if entry.spread is None else "0 1")
        assert (line["n"], line["mode"], line["seed"], line["bootstrap_unit"]) == ("40", "strict", "7", "cell")


def test_no_cell_of_the_csv_is_a_formula(results: StudyResults) -> None:
    cells = [cell for line in csv.reader(io.StringIO(leaderboard_csv(results))) for cell in line]
    texts = [cell for cell in cells if not re.fullmatch(r"-?[\d.e-]+", cell)]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@"))]
    assert any(cell.startswith("'=1+1") for cell in texts)


def test_the_latex_is_a_table_of_all_lines_with_names_as_they_stand(results: StudyResults) -> None:
    text = leaderboard_latex(results)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert len(body) == len(results.rows)
    assert all(line.endswith(r"\\") and len(re.findall(r"(?<!\\)&", line)) == 7 for line in body)
    hostile = next(line for line in body if "1+1" in line)
    assert hostile.startswith(
        r"=1+1 \& 50\%\_\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} & original & 0 & 100.0 ["
    )
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert "\\usepackage{booktabs}" in text
    row, entry = ranked(results)[3]
    assert f"{100 * row.balanced_accuracy:.1f} [{100 * entry.balanced_interval[0]:.1f}, " in text


def test_line_breaks_cannot_leave_a_latex_comment_or_row() -> None:
    assert escaped("a\n\\input{x} % b") == r"a \textbackslash{}input\{x\} \% b"


def test_files_are_written_where_there_is_a_leaderboard(results: StudyResults, tmp_path: Path) -> None:
    write_leaderboard(results, tmp_path / "tables")
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["leaderboard.csv", "leaderboard.tex"]
    assert (tmp_path / "tables" / "leaderboard.tex").read_text(encoding="utf-8") == leaderboard_latex(results)
    write_leaderboard(replace(results, leaderboard=()), tmp_path / "none")
    assert not (tmp_path / "none").exists()
