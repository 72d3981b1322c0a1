"""Looking at a training now and then, and stopping it: the loop knows when, and no more of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Event: TypeAlias = Mapping[str, Any]
"""One line of `events.jsonl`."""


@dataclass(frozen=True)
class Watch:
    """What is looked at, and when to stop.

    Both functions are pure, so that a run that was cut and resumed sees and does the same: `look` depends on the
    weights and on the events before, `verdict` on the events.

    Attributes:
        every_images: after each so many images there is a look.
        look: called with the images seen and all events so far; what it returns, JSON, becomes an event `watch`. It
            draws no random number and leaves the nets as they are.
        verdict: called with all events so far, after each look and when a run is resumed; why to stop, or None.
    """

    every_images: int
    look: Callable[[int, Sequence[Event]], Mapping[str, Any]]
    verdict: Callable[[Sequence[Event]], str | None]
