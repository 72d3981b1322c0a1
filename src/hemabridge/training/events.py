"""The log `events.jsonl`: one JSON object per line, appended during training."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from hemabridge.errors import RunError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, open_own

Event: TypeAlias = Mapping[str, Any]
"""One line of `events.jsonl`."""

_LOG: Final = FileKind("a log of events", RunError, "remove that line, or the file", largest_bytes=1_000_000_000)


class EventLog:
    """Appends events to a log; each is one line and states the number of images seen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, images: int, **values: Any) -> None:
        """Append one event and close the file."""
        with open_own(self.path, "a") as file:
            file.write(json.dumps(_finite({"kind": kind, "images": images, **values}), allow_nan=False) + "\n")

    def rewind(self, images: int) -> None:
        """Remove events after `images` images, and an incomplete line that a killed process left."""
        if self.path.exists():
            kept = [json.dumps(event) for event in read_events(self.path) if event["images"] <= images]
            with atomic_write(self.path) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def read_events(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Read all events, or those of one kind; a line that is not JSON, as a killed process leaves it, is skipped.

    Raises:
        RunError: the file cannot be read, or a line is JSON but not an event.
    """
    events = []
    for number, line in enumerate(_LOG.read_text(path, errors="replace").split("\n"), start=1):
        try:
            json.loads(line)
        except json.JSONDecodeError:
            continue
        except (RecursionError, ValueError):
            pass  # parse_object raises an error that explains it
        event = _LOG.parse_object(line, f"line {number} of {path}")
        _check(event, f"line {number} of {path}")
        if kind is None or event["kind"] == kind:
            events.append(event)
    return events


def _finite(value: Any) -> Any:
    """Return values with null in place of NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check(event: Event, where: str) -> None:
    images = event.get("images")
    if not isinstance(event.get("kind"), str) or not isinstance(images, int) or isinstance(images, bool):
        raise _LOG.damaged(where, "an object without a kind and a number of images")
    losses = event.get("losses", {})
    if not isinstance(losses, dict) or not all(isinstance(loss, int | float) for loss in losses.values()):
        raise _LOG.damaged(where, "losses that are not numbers")
    for name in ("faults", "persisting"):
        found = event.get(name, [])
        if not isinstance(found, list) or not all(isinstance(fault, str) for fault in found):
            raise _LOG.damaged(where, f"{name} that are not a list of names")
