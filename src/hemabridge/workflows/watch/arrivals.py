"""The images that arrive in a folder, once each of them is complete."""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hemabridge.data.listing import list_images


@dataclass(frozen=True)
class State:
    """Size and time of a file, by which a change is noticed."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Arrival:
    """A complete image.

    Attributes:
        path: relative to the folder, with `/`.
        state: when it was found.
    """

    path: str
    state: State


@dataclass(frozen=True)
class Taken:
    """The content of an image that was read once, so that the bytes that are hashed are those that are used.

    Attributes:
        path: relative to the folder, with `/`.
        sha256: of its bytes.
        content: its bytes.
    """

    path: str
    sha256: str
    content: bytes


class Arrivals:
    """Finds images whose size and time have not changed for a while.

    Args:
        folder: is only read.
        settle_s: seconds without a change after which a file counts as complete.
    """

    def __init__(self, folder: Path, settle_s: float) -> None:
        self.folder = folder
        self.settle_s = settle_s
        self._seen: dict[str, tuple[State, float]] = {}
        self._finished: dict[str, State] = {}

    def complete(self, now_s: float) -> list[Arrival]:
        """Return the complete images that are not finished, by path; `now_s` is a clock that never goes back.

        Raises:
            InputError: the folder cannot be listed.
        """
        seen: dict[str, tuple[State, float]] = {}
        for path in list_images(self.folder).images:
            state = _state_of(self.folder / path)
            if state is None or self._finished.get(path) == state:
                continue
            before = self._seen.get(path)
            seen[path] = before if before is not None and before[0] == state else (state, now_s)
        self._seen = seen
        return [Arrival(path, state) for path, (state, since) in seen.items() if now_s - since >= self.settle_s]

    def is_waiting(self) -> bool:
        """Return whether some images are not complete yet."""
        return bool(self._seen)

    def finish(self, arrivals: Iterable[Arrival]) -> None:
        """Remember that these images need no more work, until they change."""
        for arrival in arrivals:
            self._finished[arrival.path] = arrival.state
            self._seen.pop(arrival.path, None)

    def take(self, arrival: Arrival) -> Taken | None:
        """Read an image; None if it has vanished or is changing.

        Raises:
            OSError: it cannot be read.
        """
        path = self.folder / arrival.path
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(content) != arrival.state.size or _state_of(path) != arrival.state:
            return None
        return Taken(arrival.path, hashlib.sha256(content).hexdigest(), content)


def _state_of(path: Path) -> State | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return State(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
