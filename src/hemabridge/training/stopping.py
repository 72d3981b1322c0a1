"""What stops a training before its end: SIGINT and SIGTERM, or a watch over its weights and events."""

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
    """Turn the first SIGINT or SIGTERM into a request that the loop reads; a second signal interrupts at once."""
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
    """What is measured during a training, and the decision whether to stop it.

    Both functions are pure, so that a resumed run decides like an uninterrupted one: `check` depends on the weights and
    the earlier events, `verdict` on the events.

    Attributes:
        every_images: number of images between two checks.
        check: called with the number of images seen and all events so far; the JSON values that it returns become an
            event `watch`. It draws no random numbers and does not change the networks.
        verdict: called with all events so far, after each check and when a run is resumed; returns the reason to stop,
            or None.
    """

    every_images: int
    check: Callable[[int, Sequence[Event]], Mapping[str, Any]]
    verdict: Callable[[Sequence[Event]], str | None]
