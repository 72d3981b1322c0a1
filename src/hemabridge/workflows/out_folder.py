"""Folders that are written to: never where originals lie."""

from pathlib import Path

from hemabridge.errors import InputError


def check_apart(out: Path, *originals: Path) -> None:
    """Make sure that a folder to write to is none of some others, within none of them, and holds none of them.

    Raises:
        InputError: it is a file, or it is not apart.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"expected an output folder, got a file: {out}")
    inside = out.resolve()
    for folder in originals:
        around = folder.resolve()
        if inside.is_relative_to(around) or around.is_relative_to(inside):
            raise InputError(
                f"expected folders of which none is in the other, got {folder} and {out}; originals are never touched, "
                "name another output folder"
            )
