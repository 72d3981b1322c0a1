"""Progress callbacks: long work reports how far it is, whatever shows it."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(label, done, total)`; `label` is what a user reads about this piece of work.

If `total` is 0, `label` is a message that is shown at once.
"""

FileProgress: TypeAlias = Callable[[int, int], None]
"""Called as `progress(done, total)` by work on a list of files; the caller adds the label."""


def silent(_label: str, _done: int, _total: int) -> None:
    """Ignore the progress."""


def prefixed(progress: Progress, prefix: str) -> Progress:
    """Return a callback for one part of larger work: each label begins with `prefix`."""

    def tell(label: str, done: int, total: int) -> None:
        progress(f"{prefix}: {label}", done, total)

    return tell


def counted(progress: Progress, label: str, total: int) -> Callable[[], None]:
    """Report that none of `total` pieces of work is done; return a function to be called after each of them."""
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(label, done, total)

    if total > 0:
        progress(label, 0, total)
    return tell


def uncounted() -> None:
    """Count nothing: in the place of what `counted` returns."""
