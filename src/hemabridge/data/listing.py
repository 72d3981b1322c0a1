"""Which files a folder holds."""

import os
from collections.abc import Iterator
from pathlib import Path

from hemabridge.errors import InputError


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths of all files, relative to `folder`; links to folders are not followed, but yielded."""

    def refuse(error: OSError) -> None:
        raise InputError(f"expected folders that can be listed below {folder}, got one that cannot: {error}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in names + links:
            yield (Path(parent) / name).relative_to(folder).as_posix()
