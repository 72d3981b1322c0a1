"""Work on many image files in several threads: Pillow and numpy leave the interpreter to others while they work."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final, TypeVar

MOST_THREADS: Final = 4
"""Largest number of threads; a folder job also waits for the disk, so that it is at least two."""

LARGE_PIXELS: Final = 4_000_000
"""Images of more pixels are worked on one at a time, so that memory does not grow with the number of threads."""

ONE_LARGE: Final = Lock()
"""Held while a large image is worked on."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Return the number of threads for a folder job on this computer."""
    return max(2, min(MOST_THREADS, os.cpu_count() or 1))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `work` of each item, in their order; at most `threads` are done at once, and few ahead of the reader.

    With one thread, an item is done when the reader asks for it. An error of `work` is raised at its item's turn. Items
    that were not begun are then left out, as they are if the reader stops.
    """
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
