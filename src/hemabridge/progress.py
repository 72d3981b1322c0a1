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
