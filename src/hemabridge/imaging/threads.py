"""Work on many image files in several threads: Pillow and numpy leave the interpreter to others while they work."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from threading import Lock, RLock
from typing import Final, TypeVar

import numpy as np

MOST_THREADS: Final = 4
"""Largest number of threads; a folder job also waits for the disk, so that it is at least two."""

LARGE_PIXELS: Final = 4_000_000
"""Images of more pixels are worked on one at a time: of those that wait, only the decoded pixels are in memory."""

_KEPT_BYTES: Final = 31 * 2**20  # glibc learns from blocks of up to 32 MiB

_ONE_LARGE: Final = RLock()

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Return the number of threads for a folder job on this computer."""
    return max(2, min(MOST_THREADS, os.cpu_count() or 1))


def keep_freed_memory() -> None:
    """Let this process keep the memory of one image for the next one.

    The C library of Linux (glibc) asks the system for each larger array and gives it back at once, so that every page
    of it is mapped and cleared again. It stops so for arrays up to the size of one that was freed (mallopt(3),
    M_MMAP_THRESHOLD); this makes such an array, without using it. Elsewhere it does nothing.
    """
    np.empty(_KEPT_BYTES, np.uint8)


def alone_if_large(height: int, width: int) -> AbstractContextManager[object]:
    """Return a context that waits until no other thread works on a large image, if this one is large."""
    return _ONE_LARGE if height * width > LARGE_PIXELS else nullcontext()


class _NoWarnings:
    """A context in which no warning is shown, for any number of threads at once.

    `warnings.catch_warnings` alone restores the filters that it found. If two threads overlap, those that the second
    one found are the ones that ignore everything, and they would stay for good.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings(action="ignore")
                self._caught.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


NO_WARNINGS: Final = _NoWarnings()
"""The one context without warnings of this process."""


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `work` of each item, in their order; at most `threads` are done at once, and few ahead of the reader.

    With one thread, an item is done when the reader asks for it. An error of `work` is raised at its item's turn. Items
    that were not begun are then left out, as they are if the reader stops.
    """
    keep_freed_memory()
    if threads == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
