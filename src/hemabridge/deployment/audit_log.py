"""An append-only log, one JSON object a line, in which each entry contains the hash of the one before it.

Whoever changes, removes or inserts an entry must change all later ones (Haber and Stornetta 1991,
doi:10.1007/BF00196791). That the last entries were cut off, or all were written again, shows only against a hash that
was noted elsewhere.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hemabridge.errors import RunError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import open_own

FIRST: Final = "0" * 64
"""What the first entry has in the place of the hash of the one before it."""
LARGEST_LINE_BYTES: Final = 1_000_000

_LINE: Final = FileKind("an entry of an audit log", RunError, "keep the file as evidence, and begin another folder")


@dataclass(frozen=True)
class Chain:
    """Summary of the entries of a log.

    Attributes:
        entries: number of whole entries.
        last: hash of the last one.
        torn: number of bytes after it, of an entry that a killed process did not finish.
    """

    entries: int
    last: str
    torn: int


class AuditLog:
    """A log that is open for appending. One process at a time may have it open.

    Args:
        path: the file; it is made.

    Raises:
        RunError: an entry was changed, removed or inserted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.earlier = tuple(read_entries(path)) if path.exists() else ()
        self.chain = check_chain(path) if path.exists() else Chain(0, FIRST, 0)
        if self.chain.torn:
            # The entry was never acknowledged; its bytes would make the next line unreadable.
            os.truncate(path, path.stat().st_size - self.chain.torn)
            self.append([{"event": "repaired", "removed_bytes": self.chain.torn}])

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append entries; when this returns, they are on the disk.

        If Ctrl-C or SIGTERM interrupts it, those that are whole in the file count.

        Raises:
            OSError: they cannot be written, for example on a full disk; none of them counts then.
        """
        chain, lines = self.chain, []
        for entry in entries:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            table = {"n": chain.entries + 1, "time": time, "previous": chain.last, **entry}
            own = _hash_of(table)
            lines.append(json.dumps({**table, "hash": own}, ensure_ascii=True, allow_nan=False) + "\n")
            chain = Chain(chain.entries + 1, own, 0)
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open_own(self.path, "a") as file:
                file.write("".join(lines))
                file.flush()
                os.fsync(file.fileno())
            self.chain = chain
        except OSError:
            os.truncate(self.path, size)
            raise
        except BaseException:  # Ctrl-C or SIGTERM: the next entry must follow those that are in the file
            self._go_on_from_file()
            raise

    def _go_on_from_file(self) -> None:
        """Count the entries that are whole in the file, and remove the bytes after them."""
        found = check_chain(self.path)
        os.truncate(self.path, self.path.stat().st_size - found.torn)
        self.chain = replace(found, torn=0)


def check_chain(path: Path) -> Chain:
    """Check all entries of a log.

    Raises:
        RunError: an entry was changed, removed or inserted; the message says which is the first one.
    """
    chain = Chain(0, FIRST, 0)
    for number, table in enumerate(read_entries(path), 1):
        own = table.pop("hash", None)
        if table.get("n") != number or table.get("previous") != chain.last or own != _hash_of(table):
            raise RunError(
                f"expected the entries of an audit log as they were written, got another entry {number}: {path}; it or "
                "one before it was changed, removed or inserted, keep the file as evidence"
            )
        chain = Chain(number, str(own), 0)
    with path.open("rb") as file:
        return Chain(chain.entries, chain.last, _torn(file.read()))


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole entries of a log, unchecked.

    Raises:
        RunError: a line is not JSON, or is too long.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST_LINE_BYTES), b""), 1):
            if line.endswith(b"\n"):
                yield _LINE.parse_object(line, f"{path}, line {number}")
            elif len(line) == LARGEST_LINE_BYTES:
                raise _LINE.damaged(path, f"line {number} of more than {LARGEST_LINE_BYTES:,} bytes")


def _hash_of(table: Mapping[str, Any]) -> str:
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _torn(content: bytes) -> int:
    return len(content) - (content.rfind(b"\n") + 1)
