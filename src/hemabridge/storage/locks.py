"""Keeping two processes off one folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hemabridge.errors import RunError


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the operating system lets go of it if the process dies.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"expected a folder that no other process works in, but {folder} is in use; "
                "wait for the other run, or give this one another folder"
            ) from error
        yield
