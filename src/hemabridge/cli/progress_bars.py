"""Progress bars on standard error, or plain lines where standard error is not a terminal."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from hemabridge.progress import Progress as Listener

PLAIN_EVERY_SECONDS = 30.0
STEADY_SECONDS = 180.0
"""The time left is estimated from the rate of so many seconds; that of fewer jumps where other programs work, too."""


class _TimeLeft(TimeRemainingColumn):
    """The time that is left of this piece of work; the whole may take longer."""

    def render(self, task: Task) -> Text:
        return super().render(task) + Text(" left of this", "progress.remaining")


@contextmanager
def shown_progress() -> Iterator[Listener]:
    """Yield a progress callback that draws one bar per label, or prints a line every 30 s if there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_listener(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=3)),  # two lines in a narrow window
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        MofNCompleteColumn(),
        _TimeLeft(compact=True, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, expand=True, speed_estimate_period=STEADY_SECONDS) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(label: str, done: int, total: int) -> None:
            if total == 0:
                console.print(label, highlight=False, markup=False, soft_wrap=True)
                return
            if label not in tasks or (bars.tasks[tasks[label]].finished and done < total):
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield listen


def _plain_listener(console: Console) -> Listener:
    said: dict[str, float] = {}
    begun: dict[str, tuple[float, int]] = {}

    def listen(label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if total == 0:
            console.print(label, highlight=False, markup=False, soft_wrap=True)
            return
        if done >= total or now - said.get(label, now - PLAIN_EVERY_SECONDS) >= PLAIN_EVERY_SECONDS:
            said[label] = now
            since, before = begun.setdefault(label, (now, done))
            left = _time_left(now - since, done - before, total - done)
            console.print(f"{label}: {done} of {total}{left}", highlight=False, markup=False, soft_wrap=True)

    return listen


def _time_left(seconds: float, done: int, left: int) -> str:
    """Return the remaining time at the present rate, as text; empty if nothing remains or no rate is known yet."""
    if left <= 0 or done <= 0:
        return ""
    rest = seconds / done * left
    if rest < 60:
        return f", {math.ceil(rest)} s left"
    minutes = math.ceil(rest / 60)
    return f", {minutes} min left" if minutes < 120 else f", {minutes / 60:.1f} h left"
