"""`events.jsonl`: one JSON object a line, appended while a run goes on; and what watches a run by its events."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hemabridge.storage.files import atomic_write, open_own

Event: TypeAlias = Mapping[str, Any]
"""One line of `events.jsonl`."""


class EventLog:
    """Appends events; each is one line and carries the number of images seen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, images: int, **values: Any) -> None:
        """Append one event; it is on disk when this returns."""
        with open_own(self.path, "a") as file:
            file.write(json.dumps({"kind": kind, "images": images, **values}) + "\n")

    def rewind(self, images: int) -> None:
        """Drop what was logged after `images` images, and a line that a killed process left torn."""
        if self.path.exists():
            kept = [json.dumps(event) for event in read_events(self.path) if event["images"] <= images]
            with atomic_write(self.path) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def read_events(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Read all whole events, or those of one kind; a torn last line is left out."""
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if kind is None or event["kind"] == kind:
            events.append(event)
    return events


@dataclass(frozen=True)
class Watch:
    """What is looked at, and when to stop.

    Both functions are pure, so that a run that was cut and resumed sees and does the same: `check` depends on the
    weights and on the events before, `verdict` on the events.

    Attributes:
        every_images: after each so many images there is a check.
        check: called with the images seen and all events so far; what it returns, JSON, becomes an event `watch`. It
            draws no random number and leaves the nets as they are.
        verdict: called with all events so far, after each check and when a run is resumed; why to stop, or None.
    """

    every_images: int
    check: Callable[[int, Sequence[Event]], Mapping[str, Any]]
    verdict: Callable[[Sequence[Event]], str | None]
