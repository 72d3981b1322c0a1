from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hemabridge.errors import RunError

WHERE = "hemabridge.workflows.review.unblind.review_unblind"


def test_the_answer_is_printed_and_where_everything_is(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unblinds(folder: Path, **options: object) -> SimpleNamespace:
        asked.append((folder, options))
        tables = {
            "verdicts.csv": Path("f/tables/verdicts.csv"),
            "reader-scores.csv": Path("f/tables/reader-scores.csv"),
        }
        return SimpleNamespace(headline="So.", answer=["One.", "Two."], report=Path("f/r.html"), tables=tables)

    monkeypatch.setattr(WHERE, unblinds)
    ended = run(
        "review", "unblind", "f", "--despite", "ill", "--key", "k.json", "--target", "ours", "--photograph", "a"
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "So.",
        "- One.",
        "- Two.",
        "Report: f/r.html. Tables: f/tables/verdicts.csv, f/tables/reader-scores.csv.",
        "Next: hemabridge select RUN --readers f/tables/reader-scores.csv",
    ]
    options = {"despite": "ill", "key": Path("k.json"), "target": "ours", "photographs": ["a"]}
    assert asked == [(Path("f"), options)]


def test_an_open_session_is_exit_code_2(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RunError("expected that every reader has finished")

    monkeypatch.setattr(WHERE, refuses)
    assert run("review", "unblind", "f") == (2, "", "hemabridge: expected that every reader has finished\n")


def test_a_folder_without_a_store_is_told(run: Callable, tmp_path: Path) -> None:
    ended = run("review", "unblind", tmp_path)
    assert ended.code == 2
    assert ended.err.startswith("hemabridge: expected the store of a review at")
