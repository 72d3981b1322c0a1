"""Work on many image files in several threads: Pillow and numpy leave the interpreter to others while they work."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ContextDecorator, nullcontext
from functools import cache
from threading import Lock, RLock
from typing import Any, Final, TypeVar

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


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController  # slow to load

    return ThreadpoolController()


class _Shared(ContextDecorator):
    """A context of the whole process that any number of threads may be in at once: the first one in enters it.

    Contexts that restore what they found cannot overlap: those of two threads would leave for good what the second one
    found within the first.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._lock = Lock()
        self._inside = 0
        self._make = make
        self._entered: AbstractContextManager[object] = nullcontext()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._entered = self._make()
                self._entered.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._entered.__exit__(None, None, None)


NO_WARNINGS: Final = _Shared(lambda: warnings.catch_warnings(action="ignore"))
"""The one context without warnings of this process."""

ONE_BLAS_THREAD: Final = _Shared(lambda: _blas().limit(limits=1, user_api="blas"))
"""The context in which products of matrices use one core: those of one cell are so small that more cores make them
slower, and several times so if other threads or programs use the cores. It is also a decorator."""


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
        with ONE_BLAS_THREAD:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
