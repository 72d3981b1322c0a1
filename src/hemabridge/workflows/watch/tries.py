"""How often the program ended while it worked on an image, so that one image cannot stop it for ever."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from hemabridge.errors import HemabridgeError, RunError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import write_bytes

FILE: Final = ".attempts.json"

_COUNTS: Final[TypeAdapter[dict[str, int]]] = TypeAdapter(dict[str, int])
_KIND: Final = FileKind("how often each image was tried", RunError, "remove the file")


class Attempts:
    """Counts, by SHA-256, of work that was begun and neither finished nor stopped.

    Args:
        out: folder of the file.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / FILE
        self.counts: Counter[str] = Counter()
        if self.path.is_file():
            counted = _KIND.read_as(self.path, _COUNTS)
            self.counts.update(counted)

    @contextmanager
    def begun(self, images: Sequence[str]) -> Iterator[None]:
        """Count an attempt at these images.

        A killed process leaves the count as it is, and so does an error that nobody expected, such as too little
        memory. A full disk, a signal, and a damaged model say nothing of the images.
        """
        before = {sha256: self.counts[sha256] for sha256 in images}
        try:
            self._write({sha256: count + 1 for sha256, count in before.items()})
            yield
        except (OSError, KeyboardInterrupt, HemabridgeError):
            self._write(before)
            raise
        self._write(dict.fromkeys(images, 0))

    def _write(self, changed: Mapping[str, int]) -> None:
        for sha256, count in changed.items():
            self.counts[sha256] = count
        self.counts = +self.counts
        write_bytes(self.path, _COUNTS.dump_json(dict(self.counts)))
