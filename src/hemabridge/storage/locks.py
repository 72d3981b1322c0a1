"""Keeping two processes off one folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hemabridge.errors import RunError
from hemabridge.storage.files import open_lock


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the operating system lets go of it if the process dies.

    Raises:
        RunError: another process holds it, or its lock is a link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = open_lock(folder / ".lock")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"expected a folder that no other process works in, but {folder} is in use; "
                "wait for the other run, or give this one another folder"
            ) from error
        yield
    finally:
        os.close(lock)
