"""What a process keeps of the pictures that it has seen, so that nothing is worked out twice."""

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Results by key. At `most` of them all are forgotten, so that the memory stays bounded."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Key, Value] = {}

    def get(self, key: Key, work: Callable[[], Value]) -> Value:
        """Return the result of a key; `work` is called if it is not known. Threads may ask at the same time."""
        known = self._known
        if key in known:
            return known[key]
        found = work()
        if len(known) >= self._most:
            self._known = known = {}
        known[key] = found
        return found


def content_hash(picture: NDArray[np.uint8]) -> str:
    """Return a text that two pictures have in common only if they have the same shape and content."""
    return f"{picture.shape} {hashlib.sha256(picture.tobytes()).hexdigest()}"
