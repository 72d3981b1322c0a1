"""What a command says of files that it does not use: one line for each kind, on the error stream."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemabridge.data.listing import LeftOut
    from hemabridge.data.manifest import Manifest

_SHOWN = 3
_QUOTED = re.compile(r"'[^']*'|\\d+")


def print_left_out(kinds: "Iterable[LeftOut]") -> None:
    """Print a line for each kind of file that is no input."""
    for left in kinds:
        print(f"left out: {left}", file=sys.stderr)


def print_left_out_of(*folders: Path) -> None:
    """Look through folders of input images, and print a line for each kind of file in them that is no input."""
    from hemabridge.data.listing import list_images

    for folder in folders:
        if folder.is_dir():
            found = list_images(folder)
            links = len(found.links_out)
            if links:
                print(
                    f"left out: {links} links out of the folder: {', '.join(found.links_out[:_SHOWN])}", file=sys.stderr
                )
            print_left_out(found.left_out)


def print_unusable(files: Iterable[tuple[str, str]], word: str = "left out") -> None:
    """Print files that cannot be used, path and reason; a line for each reason, with the first files."""
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in files:
        reasons[_QUOTED.sub("", reason)].append((path, reason))
    for alike in reasons.values():
        names = ", ".join(path for path, _ in alike[:_SHOWN])
        more = f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
        print(f"{word}: {names}{more}: {alike[0][1]}", file=sys.stderr)


def summary_of(manifest: "Manifest") -> str:
    """Return the classes with their counts, and how many patients and slides are known, as one line."""
    classes = Counter(manifest.column("class"))
    named = ", ".join(f"{name} {count}" for name, count in sorted(classes.items()) if name)
    parts = [f"Classes: {named or 'none'}" + (f"; {classes['']} without a class" if named and classes[""] else "")]
    for column in ("patient", "slide"):
        known = set(manifest.column(column)) - {""}
        if known:
            parts.append(f"{len(known)} {column}{'s' * (len(known) > 1)}")
    return "; ".join(parts) + "."
