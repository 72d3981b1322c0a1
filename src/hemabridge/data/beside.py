"""Masks and thumbnails beside images, recognized by a name that refers to an image, and by their content."""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import sparse
from hemabridge.sampling import evenly_spaced

MASK_COLORS: Final = 32
"""Largest number of colors of a mask, whose labels may be anti-aliased. A photograph of a stained cell has
thousands."""

MEASURED_PIXELS: Final = 1_000_000
"""Of a larger picture, the colors of about so many pixels are counted."""

FLAT_COLORS: Final = 8
FLAT_SHARE: Final = 0.95
"""A mask saved as JPEG has more colors, but its `FLAT_COLORS` most frequent ones cover at least this share of
pixels."""

FOLDER_SAMPLE: Final = 5
"""So many images of a folder show whether it holds masks."""

_MASK_NAME: Final = re.compile(
    r"^(?:mask|label|seg)[ _.-]+(.+)$|^(.+?)[ _.-]*(?:mask|masks|seg|segmentation|labels|label|gt|groundtruth)$", re.I
)
_MASK_FOLDER: Final = re.compile(
    r"^(?:.*[ _.-])?(?:masks?|seg|segmentations?|ground[ _-]?truth|labels?|annotations?)$", re.I
)
_THUMBNAIL_NAME: Final = re.compile(r"^(?:thumb|thumbnail|tn)[ _.-]+(.+)$|^(.+?)[ _.-]+(?:thumb|thumbnail|tn)$", re.I)
_THUMBNAIL_FOLDER: Final = re.compile(r"^thumb(?:s|nails?)?$", re.I)


@dataclass(frozen=True)
class _Content:
    """The properties by which a mask or a thumbnail differs from a photograph."""

    height: int
    width: int
    is_flat: bool


class Beside:
    """Decides for each image of a folder whether it is a mask or a thumbnail of another one.

    Args:
        folder: the folder of the images.
        paths: all images, relative to the folder, with `/`.
    """

    def __init__(self, folder: Path, paths: frozenset[str]) -> None:
        self._folder = folder
        self._paths = paths
        self._contents: dict[str, _Content | None] = {}
        self._mask_folders: dict[str, bool] = {}

    def kind(self, path: str) -> Literal["masks", "thumbnails"] | None:
        """Return whether an image is a mask or a thumbnail of another one; None if neither. Few images are read."""
        if self._is_thumbnail(path):
            return "thumbnails"
        return "masks" if self._is_mask(path) else None

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """Paths by the lower-case name without suffix."""
        found = defaultdict(list)
        for path in self._paths:
            found[PurePosixPath(path).stem.lower()].append(path)
        return found

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for path in sorted(self._paths):
            found[PurePosixPath(path).parent.as_posix()].append(path)
        return found

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], list[str]]:
        """Paths by folder and lower-case name without suffix."""
        found = defaultdict(list)
        for path in self._paths:
            pure = PurePosixPath(path)
            found[pure.parent.as_posix(), pure.stem.lower()].append(path)
        return found

    def _is_mask(self, path: str) -> bool:
        pure = PurePosixPath(path)
        place, stem = pure.parent.as_posix(), pure.stem.lower()
        own_name = _stem_of(_MASK_NAME, stem)
        partners = [other for other in self._by_place[place, stem] if other != path]
        partners += self._by_place.get((place, own_name), []) if own_name else []
        if any(_MASK_FOLDER.match(part) for part in pure.parts[:-1]) or self._holds_masks(place):
            names = {stem, own_name or stem}
            partners += [other for name in names for other in self._by_stem.get(name, []) if other != path]
        if not partners or not self._is_flat(path):
            return False
        return any(self._is_flat(other) is False for other in partners)

    def _holds_masks(self, place: str) -> bool:
        """Return whether a folder of any name seems to hold masks of images in other folders, by a few of its images.

        Of a folder of photographs one image is read, and none if all its names are its own.
        """
        if place not in self._mask_folders:
            named = [path for path in self._by_folder[place] if self._has_namesake(path)]
            some = [named[at] for at in evenly_spaced(len(named), FOLDER_SAMPLE, ends=True)]
            self._mask_folders[place] = bool(some) and all(self._is_flat(path) is True for path in some)
        return self._mask_folders[place]

    def _has_namesake(self, path: str) -> bool:
        stem = PurePosixPath(path).stem.lower()
        own_name = _stem_of(_MASK_NAME, stem)
        return len(self._by_stem[stem]) > 1 or (own_name is not None and own_name in self._by_stem)

    def _is_thumbnail(self, path: str) -> bool:
        pure = PurePosixPath(path)
        stem = pure.stem.lower()
        own_name = _stem_of(_THUMBNAIL_NAME, stem)
        partners = self._by_place.get((pure.parent.as_posix(), own_name), []) if own_name else []
        if any(_THUMBNAIL_FOLDER.match(part) for part in pure.parts[:-1]):
            names = {stem, own_name or stem}
            partners = partners + [other for name in names for other in self._by_stem.get(name, []) if other != path]
        own = self._content(path) if partners else None
        if own is None:
            return False
        others = [content for content in map(self._content, partners) if content is not None]
        return any(own.height < other.height and own.width < other.width for other in others)

    def _is_flat(self, path: str) -> bool | None:
        content = self._content(path)
        return None if content is None else content.is_flat

    def _content(self, path: str) -> _Content | None:
        """Return the content of an image, read once; None if it cannot be read."""
        if path not in self._contents:
            self._contents[path] = _read(self._folder / path)
        return self._contents[path]


def _stem_of(pattern: re.Pattern[str], stem: str) -> str | None:
    """Return the name of the image that a name refers to."""
    found = pattern.match(stem)
    return None if found is None else next(group for group in found.groups() if group is not None)


def _read(path: Path) -> _Content | None:
    try:
        image = read_image(path)
        seen = sparse(image, MEASURED_PIXELS)
    except (ImageError, OSError, MemoryError):
        return None  # reported by the code that reads the images
    packed = seen.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    counts = np.sort(np.unique(packed, return_counts=True)[1])[::-1]
    is_flat = len(counts) <= MASK_COLORS or counts[:FLAT_COLORS].sum() >= FLAT_SHARE * packed.size
    return _Content(image.shape[0], image.shape[1], bool(is_flat))
