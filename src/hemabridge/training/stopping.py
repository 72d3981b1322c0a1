"""Stopping cleanly on SIGINT and SIGTERM."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from hemabridge.training.events import Event


class StopRequest:
    """Whether a signal asked to stop."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None


@contextmanager
def listen_for_stop() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request that the loop reads; a second SIGINT stops at once."""
    request = StopRequest()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if request:
            raise KeyboardInterrupt
        request.signal_name = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield request  # signals reach the main thread only
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class Watch:
    """What is looked at, and when to stop.

    Both functions are pure, so that a run that was cut and resumed sees and does the same: `check` depends on the
    weights and on the events before, `verdict` on the events.

    Attributes:
        every_images: after each so many images there is a check.
        check: called with the images seen and all events so far; what it returns, JSON, becomes an event `watch`. It
            draws no random number and leaves the nets as they are.
        verdict: called with all events so far, after each check and when a run is resumed; why to stop, or None.
    """

    every_images: int
    check: Callable[[int, Sequence[Event]], Mapping[str, Any]]
    verdict: Callable[[Sequence[Event]], str | None]
