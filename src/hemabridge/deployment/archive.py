"""The container of a bundle: a zip archive of stored entries in one canonical form.

Names and contents of the entries determine every byte of the archive. An archive is read only if it is what `pack`
writes. There are therefore no duplicate or overlapping entries, links, folders, comments, extra fields, zip64 records
or bytes between, before or after the entries, and no entry can be compressed.

The format is that of PKWARE's APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory) and 4.3.16 (end
of central directory).
"""

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hemabridge.errors import ModelError

LARGEST_BYTES: Final = 2_000_000_000
"""Largest size of an archive; a larger one would need zip64."""
MOST_ENTRIES: Final = 64
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*(?:/[a-z0-9][a-z0-9-]*)?\.[a-z]{2,12}")
"""The name of an entry: lower-case, with at most one folder."""
LONGEST_NAME: Final = 80

COMMENT_START: Final = b"hemabridge-ed25519"
COMMENT_BYTES: Final = len(COMMENT_START) + 64
"""The comment of a signed archive: `COMMENT_START` and the signature of all bytes before it."""

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_START, _CENTRAL_START, _END_START = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _FLAGS, _STORED, _TIME, _DATE = 10, 0, 0, 0, 33
"""Written by and for version 1.0, without flags, stored, on 1 January 1980: the same content gives the same bytes."""


@dataclass(frozen=True)
class _Placed:
    """An entry and where it begins."""

    name: str
    size: int
    crc: int
    offset: int

    @property
    def local(self) -> bytes:
        """The local header."""
        name = self.name.encode()
        fixed = (_VERSION, _FLAGS, _STORED, _TIME, _DATE, self.crc, self.size, self.size, len(name), 0)
        return _LOCAL.pack(_LOCAL_START, *fixed) + name

    @property
    def central(self) -> bytes:
        """The entry in the central directory."""
        name = self.name.encode()
        fixed = (_VERSION, _VERSION, _FLAGS, _STORED, _TIME, _DATE, self.crc, self.size, self.size, len(name))
        return _CENTRAL.pack(_CENTRAL_START, *fixed, 0, 0, 0, 0, 0, self.offset) + name


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Return the archive of these entries, in their order.

    Raises:
        ModelError: a name is not allowed, or there are too many entries or bytes.
    """
    wrong = [name for name in entries if not _is_name(name)]
    if wrong or not 0 < len(entries) <= MOST_ENTRIES:
        raise ModelError(f"expected 1 to {MOST_ENTRIES} entries with plain names, got {wrong or len(entries)}")
    parts: list[bytes] = []
    placed: list[_Placed] = []
    offset = 0
    for name, content in entries.items():
        entry = _Placed(name, len(content), zlib.crc32(content), offset)
        placed.append(entry)
        parts += [entry.local, content]
        offset += len(entry.local) + len(content)
    archive = b"".join([*parts, _directory(placed, offset)])
    if len(archive) + COMMENT_BYTES > LARGEST_BYTES:
        raise ModelError(f"expected a bundle of at most {LARGEST_BYTES:,} bytes, got {len(archive):,}")
    return archive


def unpack(content: bytes, path: Path) -> dict[str, bytes]:
    """Return the entries of an archive that `pack` wrote, signed or not; errors state `path`.

    Raises:
        ModelError: it is anything else.
    """
    if len(content) > LARGEST_BYTES:
        raise _damaged(path, f"{len(content):,} bytes")
    entries: dict[str, bytes] = {}
    placed: list[_Placed] = []
    offset = 0
    while content[offset : offset + len(_LOCAL_START)] == _LOCAL_START:
        if len(entries) == MOST_ENTRIES:
            raise _damaged(path, f"more than {MOST_ENTRIES} entries")
        entry, start = _entry_at(content, offset, path)
        if entry.name in entries:
            raise _damaged(path, f"the entry {entry.name} twice")
        placed.append(entry)
        entries[entry.name] = content[start : start + entry.size]
        offset = start + entry.size
    end = _directory(placed, offset)
    if content[offset:] != end and not _is_signed(content[offset:], end):
        raise _damaged(path, "another directory of the entries, a comment, or bytes that belong to no entry")
    return entries


def is_signed(content: bytes) -> bool:
    """Return whether the last bytes are those of a signed archive; nothing is parsed."""
    return content[-COMMENT_BYTES:].startswith(COMMENT_START) and len(content) > COMMENT_BYTES


def for_signature(archive: bytes) -> bytes:
    """Return the bytes to sign: the archive with a comment, all but the signature in it.

    Args:
        archive: an archive without a signature.
    """
    return archive[:-2] + COMMENT_BYTES.to_bytes(2, "little") + COMMENT_START


def _entry_at(content: bytes, offset: int, path: Path) -> tuple[_Placed, int]:
    """Return the entry whose local header is at an offset, and where its content begins."""
    header = content[offset : offset + _LOCAL.size]
    if len(header) < _LOCAL.size:
        raise _damaged(path, "an incomplete entry")
    crc, _, size, name_bytes = _LOCAL.unpack(header)[6:10]
    start = offset + _LOCAL.size + name_bytes
    if name_bytes > LONGEST_NAME or size > len(content) - start:
        raise _damaged(path, "an entry that is larger than the file")
    name = content[offset + _LOCAL.size : start].decode("ascii", errors="replace")
    entry = _Placed(name, size, crc, offset)
    if not _is_name(name) or entry.local != content[offset:start]:
        raise _damaged(path, f"an entry that is compressed, encrypted, a folder or a link, or has a name like {name!r}")
    if zlib.crc32(memoryview(content)[start : start + size]) != crc:
        raise _damaged(path, f"the entry {name} with another checksum than it states")
    return entry, start


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and NAME.fullmatch(name) is not None


def _directory(placed: list[_Placed], offset: int) -> bytes:
    """Return the central directory and its end, without a comment."""
    directory = b"".join(entry.central for entry in placed)
    return directory + _END.pack(_END_START, 0, 0, len(placed), len(placed), len(directory), offset, 0)


def _is_signed(found: bytes, end: bytes) -> bool:
    return found[:-64] == for_signature(end) and len(found) == len(end) + COMMENT_BYTES


def _damaged(path: Path, got: str) -> ModelError:
    return ModelError(
        f"expected a bundle as `hemabridge export` writes it, got {got}: {path}; it was damaged or changed, take "
        "another copy"
    )
