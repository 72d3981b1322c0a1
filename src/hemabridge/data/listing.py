"""Which files of a folder are input images: one rule for every command.

Files of operating systems, network storage and this program are left out, and so are masks and thumbnails. They are
grouped by kind, so that a command can print one line for each kind.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeAlias

from hemabridge.data.beside import Beside
from hemabridge.errors import InputError
from hemabridge.imaging.files import IMAGE_SUFFIXES
from hemabridge.storage.run_folder import is_run_folder

Kind: TypeAlias = Literal[
    "hidden", "of the operating system or storage", "beginning with _", "not images by name", "links to folders",
    "of hemabridge", "masks", "thumbnails", "with too long a path",
]  # fmt: skip

SYSTEM_NAMES: Final = frozenset(
    {"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "recycler", "recycled", "lost+found"}
    | {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "iconcache.db", "@recycle", "@tmp"}
    | {"@recently-snapshot", "@sharebin"}
    | {"system volume information", "network trash folder", "temporary items", "icon\r"}
)
"""Lower-case names of files and folders of Windows, macOS, Linux, Synology and QNAP. Names that begin with `.` are
hidden files, and are not listed here."""

SYSTEM_STARTS: Final = ("._", ".trash", "~$")
"""Lower-case beginnings of such names: of macOS, and of files that an office program has open."""

SYSTEM_FOLDER_STARTS: Final = ("@", "~", "$", "found.0")
"""Beginnings of such folders: of Synology and QNAP, NetApp's `~snapshot`, and what a check of the disk found."""

_OWN_NAMES: Final = frozenset(
    {"standardized.csv", "site.json", "predicted-classes.csv", "predictions.csv", "drift.csv"}
)
_MANIFEST_HEADER: Final = re.compile(r'^\ufeff?"?path"?,"?site"?(,|\r?\n)')
_QUOTED: Final = re.compile(r"'[^']*'|\d[\d.]*")
_SHOWN: Final = 3
_LONGEST_PATH: Final = 4095 - 255
"""PATH_MAX of Linux without a name, in bytes: beside a file with a longer path no other one can be written."""


@dataclass(frozen=True)
class LeftOut:
    """Files and folders of one kind that are not used as input.

    Attributes:
        kind: why they are left out.
        paths: relative to the listed folder; a path that ends with `/` is a folder, with all that is in it.
    """

    kind: Kind
    paths: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for the output of a command."""
        more = ", ..." if len(self.paths) > _SHOWN else ""
        return f"{len(self.paths)} {self.kind}: {', '.join(escaped(path) for path in self.paths[:_SHOWN])}{more}"


@dataclass(frozen=True)
class Listing:
    """The content of a folder.

    Attributes:
        images: paths of the input images, relative to the folder, with `/`, sorted.
        links_out: links with the name of an image that lead out of the folder; every command refuses them.
        left_out: all other files.
        folders: the folders that were listed, relative to the folder.
    """

    images: tuple[str, ...]
    links_out: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    folders: tuple[str, ...]

    def reasons(self) -> dict[str, str]:
        """Return the reason for each path that is left out."""
        return {path: f"left out: {left.kind}" for left in self.left_out for path in left.paths}

    @property
    def found_instead(self) -> str:
        """What a folder without images holds, and what to do if it holds links to folders; for an error message."""
        if not self.left_out:
            return "an empty folder"
        kinds = f"other files ({'; '.join(map(str, self.left_out))})"
        linked = any(left.kind == "links to folders" for left in self.left_out)
        return kinds + (
            "; links to folders are not followed: name the folder to which they lead, or copy it" if linked else ""
        )


def not_a_folder(path: Path) -> str:
    """Return what is found at a path that is no folder, for an error message; for a single image with what to do."""
    if not path.exists():
        return f"nothing: {path}"
    return f"a file: {path}" + "; name the folder that holds the image, which may hold it alone" * is_image_name(path)


def is_image_name(path: Path) -> bool:
    """Tell whether a file has the name of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


LINK_OUT: Final = "expected a file inside of the folder, got a link that leaves it; copy the file into it"
_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def escaped(path: str) -> str:
    r"""Return a path with escapes for the characters that are not allowed in a manifest, for output.

    >>> print(escaped("line\nbreak.png"), escaped("latin-\udce9.jpg"))
    line\nbreak.png latin-\udce9.jpg
    """
    return _UNSAFE_NAME.sub(lambda found: found[0].encode("unicode_escape").decode(), path)


def is_printable(path: str) -> bool:
    r"""Return whether a path is printable UTF-8 without a backslash, as a manifest requires."""
    return _UNSAFE_NAME.search(path) is None


def leaves(folder: Path, path: str) -> bool:
    """Return whether a path below a folder is a link that leads out of the folder."""
    return not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder))


def _links_out(folder: Path, files: Sequence[str]) -> list[str]:
    """Return the files that `leaves` is true of; the way to each folder is followed once."""
    outside = {parent: leaves(folder, parent) for parent in {path.rpartition("/")[0] for path in files}}
    return [
        path
        for path in files
        if outside[path.rpartition("/")[0]] or (os.path.islink(os.path.join(folder, path)) and leaves(folder, path))
    ]


def list_images(folder: Path, is_known_mask: Callable[[PurePosixPath, frozenset[str]], bool] | None = None) -> Listing:
    """List the input images of a folder. Links to folders are not followed.

    Left out are hidden files and folders, those whose names begin with `_`, those of operating systems, network storage
    and this program, such as folders of runs, and masks and thumbnails of images. Only possible masks and thumbnails
    are read (`hemabridge.data.beside`).

    Args:
        folder: any folder.
        is_known_mask: returns for a path, and all paths, whether a known data set has a mask there.

    Raises:
        InputError: a folder cannot be listed.
    """
    kinds: dict[Kind, list[str]] = {}
    folders: list[str] = []
    files = []
    for path, kind in _walk(folder, folders):
        if kind is None:
            files.append(path)
        else:
            kinds.setdefault(kind, []).append(path)
    links = _links_out(folder, files)
    names = frozenset(files) - set(links)
    beside = Beside(folder, names)
    images = []
    for path in sorted(names):
        if is_known_mask is not None and is_known_mask(PurePosixPath(path), names):
            kinds.setdefault("masks", []).append(path)
        elif (shown := beside.kind(path)) is not None:
            kinds.setdefault(shown, []).append(path)
        else:
            images.append(path)
    left = tuple(LeftOut(kind, tuple(sorted(paths))) for kind, paths in sorted(kinds.items()))
    return Listing(tuple(images), tuple(sorted(links)), left, tuple(sorted(folders)))


def _walk(folder: Path, folders: list[str]) -> Iterator[tuple[str, Kind | None]]:
    """Yield each path, and the kind for which its name is left out or None; add the listed folders to `folders`."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a folder that was removed meanwhile contains nothing
            raise InputError(
                f"expected folders that can be listed below {folder}, got one that cannot: {error}"
            ) from error

    for parent, below, names in os.walk(folder, onerror=refuse):
        place = Path(parent).relative_to(folder)
        for name in list(below):
            path = (place / name).as_posix()
            kind = _kind_of_folder(name) if _is_short(parent, name) else "with too long a path"
            if kind is None and is_run_folder(Path(parent, name)):
                kind = "of hemabridge"
            if kind is None and Path(parent, name).is_symlink():
                is_image = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES  # reported by the code that reads it
                yield path, None if is_image else "links to folders"
            elif kind is None:
                folders.append(path)
            else:
                below.remove(name)
                yield f"{path}/", kind
        for name in names:
            is_short = _is_short(parent, name)
            yield (place / name).as_posix(), _kind_of_file(Path(parent), name) if is_short else "with too long a path"


def _is_short(parent: str, name: str) -> bool:
    return len(os.fsencode(os.path.join(parent, name))) <= _LONGEST_PATH


def _kind_of_name(name: str) -> Kind | None:
    if name.lower() in SYSTEM_NAMES or name.lower().startswith(SYSTEM_STARTS):
        return "of the operating system or storage"
    if name == ".DS_Store":
        return "of the operating system or storage"
    return "hidden" if name.startswith(".") else "beginning with _" if name.startswith("_") else None


def _kind_of_folder(name: str) -> Kind | None:
    if name.lower().startswith(SYSTEM_FOLDER_STARTS):
        return "of the operating system or storage"
    return _kind_of_name(name)


def _kind_of_file(parent: Path, name: str) -> Kind | None:
    kind = _kind_of_name(name)
    if kind is not None:
        return kind
    if _is_own(parent, name):
        return "of hemabridge"
    return None if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES else "not images by name"


def _is_own(parent: Path, name: str) -> bool:
    """Return whether this program wrote a file, by its name, or for a manifest by its header."""
    if name == "drift.png":
        return (parent / "drift.csv").is_file()
    if name == "sheet.png":  # of simulated or restyled hospitals
        return any((below / "manifest.csv").is_file() for below in parent.iterdir())
    if name in _OWN_NAMES or name.endswith(".guard.json"):
        return True
    if not name.lower().endswith(".csv") or not (parent / name).is_file():
        return False
    try:
        with (parent / name).open("rb") as file:
            return _MANIFEST_HEADER.match(file.read(64).decode("utf-8", errors="replace")) is not None
    except OSError:
        return False


def by_reason(files: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line for each reason why files, given as path and reason, are not used, with the first files.

    Reasons that differ in numbers and in quoted names are one.
    """
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, reason in files:
        reasons[_QUOTED.sub("", reason)].append((path, reason))
    lines = []
    for alike in reasons.values():
        names = ", ".join(path for path, _ in alike[:_SHOWN])
        more = f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
        lines.append(f"{names}{more}: {alike[0][1]}")
    return lines
