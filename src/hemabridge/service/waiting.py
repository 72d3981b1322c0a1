"""One thread for the models, and a bounded number of requests that wait for it."""

import asyncio
import math
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from hemabridge.progress import Progress
from hemabridge.service.access import Refused

ASSUMED_SECONDS: Final = 1.0
"""How long a request takes, until one was answered."""

POLL_SECONDS: Final = 0.25
"""So often a request that waits looks whether its client is still there."""

Result = TypeVar("Result")


class Full(Exception):  # noqa: N818 - the state of the queue, and no fault
    """So many requests are in the service already; `retry_seconds` says when to come again."""

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(retry_seconds)
        self.retry_seconds = retry_seconds


class TooLate(Exception):  # noqa: N818
    """The work was not done in time, and was ended."""


class Gone(Exception):  # noqa: N818
    """The client does not wait any more; the work was ended."""


class WorkFailed(Exception):  # noqa: N818
    """The work ended with an unexpected error; its message may name a file, so that only kind and place are kept."""


class Line:
    """The requests that are read, wait or are worked on: at most `most`; one is worked on at a time.

    Args:
        most: largest number of requests.
        seconds: longest time from the end of a request to its answer.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self.held = 0
        self.is_ended = False
        self.usual_seconds = ASSUMED_SECONDS
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "models")

    def enter(self) -> "Place":
        """Take a place, which must be left or given to `work`.

        Raises:
            Full: there is none.
        """
        with self._lock:
            if self.held >= self.most:
                raise Full(max(1, math.ceil(self.usual_seconds * self.held)))
            self.held += 1
        return Place(self)

    def end(self) -> None:
        """End the thread after the image that it works on; requests that wait are not begun."""
        self.is_ended = True
        self._worker.shutdown(wait=False, cancel_futures=True)

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            self.held -= 1

    def took(self, seconds: float) -> None:
        """Note how long a request took."""
        self.usual_seconds += 0.2 * (seconds - self.usual_seconds)

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Let the thread work."""
        return self._worker.submit(work)


class Place:
    """A place in the line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._ended = threading.Event()
        self._is_given = False

    def leave(self) -> None:
        """Give the place back, unless the thread still needs it."""
        if not self._is_given:
            self.line.leave()

    async def work(self, work: Callable[[Progress], Result], is_gone: Callable[[], Awaitable[bool]]) -> Result:
        """Let the thread work, and wait for it.

        Args:
            work: is told a progress that it must call after each image, and that ends it if nobody waits any more.
            is_gone: whether the client has gone.

        Raises:
            TooLate: it took too long.
            Gone: the client has gone.
            Refused: the work refused the request.
            WorkFailed: the work raised another error.
        """
        self._is_given = True
        future = self.line.submit(lambda: self._measured(work))
        future.add_done_callback(lambda _: self.line.leave())
        own = asyncio.wrap_future(future)
        until = monotonic() + self.line.seconds
        while not (await asyncio.wait([own], timeout=POLL_SECONDS))[0]:
            late = monotonic() > until
            if late or await is_gone():
                self._ended.set()
                own.cancel()
                raise TooLate if late else Gone
        return own.result()

    def _measured(self, work: Callable[[Progress], Result]) -> Result:
        began = monotonic()
        try:
            return work(self._check)
        except (Gone, Refused):
            raise
        except Exception as error:
            raise WorkFailed(_place_of(error)) from None
        finally:
            self.line.took(monotonic() - began)

    def _check(self, stage: str, done: int, total: int) -> None:
        if self._ended.is_set() or self.line.is_ended:
            raise Gone


def _place_of(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
