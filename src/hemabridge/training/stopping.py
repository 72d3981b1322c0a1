"""Stopping cleanly on SIGINT and SIGTERM, and keeping two processes off one run folder."""

import fcntl
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hemabridge.errors import RunError


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


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the operating system lets go of it if the process dies.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"expected a folder that no other process works in, but {folder} is in use; "
                "wait for the other run, or give this one another folder"
            ) from error
        yield
