import io

import pytest
from rich.console import Console

from hemabridge.cli import progress_bars as module
from hemabridge.cli.progress_bars import shown_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_comes_now_and_then_and_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress() as listen:
        for done in range(1, 11):
            listen("reading [bold]", done, 10)
            clock[0] += 10
    told = capsys.readouterr()
    assert told.out == ""
    ends = {1: "", 4: ", 1 min left", 7: ", 30 s left", 10: ""}
    assert told.err.splitlines() == [f"reading [bold]: {done} of 10{end}" for done, end in ends.items()]


def test_what_takes_long_says_how_long(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as listen:
        for done in (11, 12):  # resumed at 11
            listen("training", done, 100)
            clock[0] += 60
            listen("cutting", done, 500)
            clock[0] += 60
    assert capsys.readouterr().err.splitlines()[2:] == [
        "training: 12 of 100, 2.9 h left",
        "cutting: 12 of 500, 16.3 h left",
    ]


def test_nothing_is_left_to_say_before_anything_was_done(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress() as listen:
        listen("one", 0, 5)
        clock[0] += 40
        listen("one", 0, 5)
    assert capsys.readouterr().err.splitlines() == ["one: 0 of 5", "one: 0 of 5"]


def test_each_piece_of_work_is_told_for_itself(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as listen:
        listen("one", 1, 5)
        listen("two", 1, 5)
        listen("one", 2, 5)
    assert capsys.readouterr().err.splitlines() == ["one: 1 of 5", "two: 1 of 5"]


def test_on_a_terminal_there_is_a_bar_for_each_piece_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=100))
    with shown_progress() as listen:
        listen("one", 1, 2)
        listen("one", 2, 2)
        listen("two", 1, 4)
        listen("one", 1, 3)  # the same work begins again
    shown = screen.getvalue()
    assert "2/2" in shown
    assert "1/4" in shown
    assert "1/3" in shown


def test_in_a_narrow_window_counts_and_the_time_left_of_this_piece_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=80))
    with shown_progress() as listen:
        for done in (32, 64, 96):
            listen("step 12 of 13: classifier 3 of 6 (color): training", done, 4672)
    shown = screen.getvalue()
    assert " 96/4672" in shown
    assert "left of this" in shown
    assert "…" not in shown
