"""Files that hemabridge writes: whole or not at all, and never through a link. Their names, and hashes of files."""

import hashlib
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TextIO

from hemabridge.errors import HemabridgeError, InputError, RunError

TEMPORARY: Final = ".writing-"
"""Prefix of a file's name while it is written."""

_LONGEST_SUFFIX = 16
_SYNC_THREADS: Final = 8
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has no such flag, and makes links only for administrators


def expect_json_text(text: object, what: str, instead: str, error: type[HemabridgeError]) -> None:
    """Make sure that the argument of a `from_json` is a text of JSON and not the path of a file.

    Args:
        text: the argument.
        what: name of the content, at the start of the message.
        instead: how to read a file, at the end of the message.
        error: class of the error.

    Raises:
        HemabridgeError: `error`, if `text` is a path, or is not a text.
    """
    if isinstance(text, str):
        is_path = "{" not in text and (text.endswith(".json") or any(mark in text for mark in ("/", os.sep)))
        got = f"what may be a path, {text[:80]!r}" if is_path else None
    else:
        got = f"the path {text}" if isinstance(text, os.PathLike) else type(text).__name__
    if got is not None:
        raise error(f"{what}: expected the text of a JSON object, as to_json returns it, got {got}; {instead}")


@contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` on success, and removed on any exception.

    Missing parent folders are made. The temporary name is short, and has the suffix of `path`. Without `sync`, the
    content may be lost if the computer stops before `sync_files`.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}{suffix}")
    try:
        yield temporary
        if sync:
            _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_files(paths: Iterable[Path]) -> None:
    """Wait until the content of files is on the disk.

    After many files this is far faster than after each one, and in several threads: the file system then writes what
    all of them wait for at once.

    Raises:
        OSError: of the first file that could not be written.
    """
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        for _ in pool.map(_sync, paths):
            pass


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_bytes(path: Path, content: bytes | memoryview, *, sync: bool = True) -> None:
    """Write a file whole or not at all; for `sync` see `atomic_write`.

    Raises:
        OSError: it cannot be written, for example on a full disk; `path` is then unchanged.
    """
    with atomic_write(path, sync=sync) as temporary:
        written = temporary.write_bytes(content)
        if written != len(content) or temporary.stat().st_size != len(content):
            raise OSError(f"expected {len(content):,} bytes to be written, got {written:,}: {path}; free some space")


def copy_file(source: Path, path: Path) -> None:
    """Copy the content of a file, whole or not at all; a link at `path` is replaced, and not followed.

    Raises:
        OSError: it cannot be read or written; `path` is then unchanged.
    """
    with atomic_write(path) as temporary:
        shutil.copyfile(source, temporary)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all; a file that exists, or that another process writes, is not replaced.

    Raises:
        InputError: the file exists.
        OSError: it cannot be written.
    """
    with atomic_write(path) as temporary:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError as error:
            raise InputError(f"expected a new file, got one that exists: {path}; choose another name") from error
        try:
            temporary.write_bytes(content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def open_own(path: Path, mode: Literal["a", "w"], *, errors: str = "strict") -> TextIO:
    """Open a text file that only this program writes, as UTF-8 and without conversion of line ends.

    Raises:
        RunError: it is a link, so that another file would be overwritten.
    """
    try:
        return open(
            path, mode, newline="", encoding="utf-8", errors=errors, opener=lambda name, flags: _open(name, flags)
        )
    except OSError as error:
        if path.is_symlink():
            raise RunError(f"expected a file of ours, got a link: {path}; remove it") from error
        raise


def open_lock(path: Path) -> int:
    """Open, or make, a lock file without changing its content. Return its descriptor, which the caller closes.

    Raises:
        RunError: it is a link.
    """
    try:
        return _open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if path.is_symlink():
            raise RunError(f"expected a file of ours, got a link: {path}; remove it") from error
        raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: str | Path, flags: int) -> int:
    return os.open(path, flags | _NO_FOLLOW, 0o666)


def picture_names(ids: Sequence[str]) -> list[str]:
    """Return a PNG file name for each image; if two would be equal, the name keeps the original suffix before .png."""
    plain = [PurePosixPath(name).with_suffix(".png").as_posix() for name in ids]
    twice = {name for name, count in Counter(plain).items() if count > 1}
    return [f"{own}.png" if name in twice and own != name else name for own, name in zip(ids, plain, strict=True)]


def folder_name(name: str) -> str:
    """Return a name as a folder name: lower-case letters of any script, digits and hyphens; it may be empty."""
    return re.sub(r"[\W_]+", "-", name).strip("-").lower()
