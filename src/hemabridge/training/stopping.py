"""Stopping cleanly on SIGINT and SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
