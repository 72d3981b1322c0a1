"""Make a manifest from a folder of images."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from hemabridge.data.layouts import find_layout
from hemabridge.data.manifest import Manifest, make_manifest
from hemabridge.errors import ImageError, ManifestError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image, reason_of
from hemabridge.imaging.provenance import read_origin
from hemabridge.progress import FileProgress
from hemabridge.storage.files import sha256_of

_Columns: TypeAlias = dict[str, list[str | int | None]]
_FILLED = ("path", "site", "class", "split", "sha256", "width", "height", "crop_px", "origin")
_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


@dataclass(frozen=True)
class UnreadableFile:
    """A file that looks like an image by its name and cannot be used.

    `path` is relative to the folder or root, and `escaped`.
    """

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Index:
    """What was found in a folder.

    Attributes:
        manifest: the images.
        unreadable: files that look like images by their names and cannot be used.
        other_files: how many files of other kinds there are: masks, and by their names no images.
        without_images: the folders, `escaped`, in which and below which no image is looked at.
    """

    manifest: Manifest
    unreadable: tuple[UnreadableFile, ...]
    other_files: int
    without_images: tuple[str, ...] = ()


def index_folder(
    folder: Path,
    site: str,
    *,
    crop_px: int | None = None,
    subclasses: bool = False,
    progress: FileProgress | None = None,
) -> Index:
    """Read every image of a folder and list it with its class, size and SHA-256.

    A folder per class (at any depth below), all in one folder (no class), and below `train`, `test`, ... (that becomes
    the split). Files and folders that begin with `_` or `.` are left out; images in `unlabeled` have no class. The
    layouts of PBC_dataset_normal_DIB, Raabin-WBC and Tecom (`Class Labels of Dataset 1.csv`) are known, and the usual
    names of blood cells become lower case (`Neutrophil` -> `neutrophil`, `ig` -> `immature_granulocyte`). Synthetic
    images are known by the mark in their files.

    Args:
        folder: becomes the manifest's root.
        site: name of the hospital or laboratory.
        crop_px: side of the central square that shows a cell at the common scale, in pixels; None leaves it open.
        subclasses: take the finer classes that PBC_dataset_normal_DIB writes into file names (`MMY_...`).
        progress: called after each file.

    Raises:
        ManifestError: not a folder, one below that cannot be listed, or no readable image in it.
    """
    if not folder.is_dir():
        raise ManifestError(
            f"expected a folder of images at {folder}, got {'a file' if folder.exists() else 'nothing'}"
        )
    layout = find_layout(folder, subclasses=subclasses)
    folders: set[str] = set()
    files = sorted(_files(folder, folders))
    siblings = frozenset(files)
    images = [
        path
        for path in files
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES and not layout.is_mask(PurePosixPath(path), siblings)
    ]
    columns: _Columns = {name: [] for name in _FILLED}
    unreadable = []
    for number, path in enumerate(images, start=1):
        try:
            width, height, digest, origin = _measured(folder, path)
        except ImageError as error:
            unreadable.append(UnreadableFile(escaped(path), reason_of(error, folder / path)))
        else:
            place = layout.place(PurePosixPath(path))
            row = (path, site, place.class_name, place.split, digest, width, height, crop_px, origin)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        if progress is not None:
            progress(number, len(images))
    if not columns["path"]:
        raise ManifestError(
            f"expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {folder}, got {len(files)} other files and "
            f"{len(unreadable)} unreadable images; name the folder that holds the folders of the classes"
        )
    manifest = make_manifest(columns, folder, where=f"the index of {folder}")
    return Index(manifest, tuple(unreadable), len(files) - len(images), _without_images(folders, images))


def check_listable(folder: Path, path: str) -> None:
    """Make sure that a file below a folder may stand in a manifest whose root is that folder.

    Raises:
        ImageError: its name is no printable UTF-8, or it is a link that leaves the folder.
    """
    if _UNSAFE_NAME.search(path):
        raise ImageError("expected a file name of printable UTF-8 characters without \\, got another; rename the file")
    if not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder)):
        raise ImageError("expected a file inside of the folder, got a link that leaves it; copy the file into it")


def escaped(path: str) -> str:
    r"""Return a path with escapes in the place of what may not stand in a manifest, to be shown and written.

    >>> print(escaped("line\nbreak.png"), escaped("latin-\udce9.jpg"))
    line\nbreak.png latin-\udce9.jpg
    """
    return _UNSAFE_NAME.sub(lambda found: found[0].encode("unicode_escape").decode(), path)


def _files(folder: Path, folders_below: set[str]) -> Iterator[str]:
    """Yield the path of each file relative to `folder`, with `/`, and add that of each folder to `folders_below`.

    Links to folders are not followed, but yielded.
    """

    def refuse(error: OSError) -> None:
        raise ManifestError(
            f"expected folders that can be listed below {folder}, got one that cannot: {error}"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name[0] not in "._"]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders_below.update(Path(parent, name).relative_to(folder).as_posix() for name in folders if name not in links)
        for name in names + links:
            if name[0] not in "._":
                yield Path(parent, name).relative_to(folder).as_posix()


def _without_images(folders: set[str], images: Sequence[str]) -> tuple[str, ...]:
    with_images = {parent.as_posix() for path in images for parent in PurePosixPath(path).parents}
    return tuple(escaped(name) for name in sorted(folders - with_images))


def _measured(folder: Path, path: str) -> tuple[int, int, str, str]:
    """Return width, height, SHA-256 and origin of an image that may stand in a manifest."""
    check_listable(folder, path)
    file = folder / path
    height, width = read_image(file).shape[:2]
    origin = read_origin(file)
    return width, height, sha256_of(file), "" if origin is None else origin.as_text()
