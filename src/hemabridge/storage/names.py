"""Names of files and folders that are made from other names."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


def picture_names(ids: Sequence[str]) -> list[str]:
    """Return a PNG file's name for each image: its own, and with the old suffix inside where two would be one."""
    plain = [PurePosixPath(name).with_suffix(".png").as_posix() for name in ids]
    twice = {name for name, count in Counter(plain).items() if count > 1}
    return [f"{own}.png" if name in twice and own != name else name for own, name in zip(ids, plain, strict=True)]


def folder_name(name: str) -> str:
    """Return a name as a folder name: lower-case letters of any script, digits and hyphens; empty if it has none."""
    return re.sub(r"[\W_]+", "-", name).strip("-").lower()
