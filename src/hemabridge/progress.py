"""How long work tells how far it is, without knowing who listens."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(label, done, total)`; `label` names the piece of work, in words a user reads.

With a `total` of 0 nothing is counted: `label` is a sentence to show at once.
"""

FileProgress: TypeAlias = Callable[[int, int], None]
"""Called as `progress(done, total)` by one piece of work that goes through files and does not name itself."""


def silent(_label: str, _done: int, _total: int) -> None:
    """Listen to nothing."""


def prefixed(progress: Progress, prefix: str) -> Progress:
    """Return a listener that is told of the same work as a part of something larger."""

    def tell(label: str, done: int, total: int) -> None:
        progress(f"{prefix}: {label}", done, total)

    return tell
