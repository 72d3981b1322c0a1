from collections.abc import Callable
from pathlib import Path

import pytest

PLAN = """
kind = "review"
name = "small"
readers = ["Ana", "Ben"]
apart = 2
arms = [{{ name = "original", folder = "{hospitals}/yellow-field" }}]
tasks = [{{ questions = ["stain"], cells = 4, repeats = 1, practice = 2 }}]
"""


@pytest.fixture
def plan(hospitals: Path, tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(hospitals=hospitals), encoding="utf-8")
    return path


def test_create_says_what_it_made_and_what_comes_next(run: Callable, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "review"
    ended = run("review", "create", plan, "--out", out)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == (
        "7 screens for each of 2 readers: 2 for practice, 5 that count, 1 of these for a second time. "
        "7 pictures of 32 px."
    )
    assert lines[-1] == f"Next: hemabridge review serve {out}"
    again = run("review", "create", plan, "--out", out)
    assert (again.code, again.out) == (2, "")
    assert again.err.startswith(f"hemabridge: expected no folder at {out} yet")


def test_runs_are_named_by_the_plan(run: Callable, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("review", "create", plan).code == 0
    assert (tmp_path / "runs" / "small" / "review.sqlite").is_file()


def test_serving_needs_an_extra_and_says_which(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemabridge.cli.web_pages.find_spec", lambda name: None)
    ended = run("review", "serve", "somewhere")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "hemabridge: this command needs a web server: pip install 'hemabridge[review]'\n"


def test_the_risk_is_told_before_anything_listens(run: Callable, tmp_path: Path) -> None:
    ended = run("review", "serve", tmp_path, "--host", "0.0.0.0")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("hemabridge: warning: 0.0.0.0 can be reached from other computers.")
    assert "expected a folder of `hemabridge review create`" in ended.err
