import io

import pytest
from rich.console import Console

from hemabridge.cli import progress as module
from hemabridge.cli.progress import shown_progress


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
    assert told.err.splitlines() == [f"reading [bold]: {done} of 10" for done in (1, 4, 7, 10)]


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
        listen("one", 1, 3)  # the same work begins anew
    shown = screen.getvalue()
    assert "2/2" in shown
    assert "1/4" in shown
    assert "1/3" in shown
