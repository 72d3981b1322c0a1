"""What reads the images of a command: from their files, or from the memory into which a request sent them."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from hemabridge.imaging.decoding import Decoded
from hemabridge.imaging.files import at_depth_beside, common_depth, decoded_from, read_image
from hemabridge.imaging.found_scale import FoundScale, read_scale, scale_in
from hemabridge.imaging.standardizer import UInt8Image

KEPT_BYTES: Final = 200_000_000
"""So many bytes of decoded pixels `SentImages` keeps at most, unless another number is stated."""


class ImageReader(Protocol):
    """Returns images and their scales by path."""

    def read(self, path: Path) -> UInt8Image:
        """Return the image of a path, RGB uint8[H, W, 3].

        Raises:
            ImageError: as `read_image`.
        """
        ...

    def scale(self, path: Path) -> FoundScale | None:
        """Return what the file of a path states of its scale."""
        ...


class _Files:
    """Reads each file whenever it is asked for."""

    def read(self, path: Path) -> UInt8Image:
        return read_image(path)

    def scale(self, path: Path) -> FoundScale | None:
        return read_scale(path)


FILES: Final[ImageReader] = _Files()
"""Reads each file whenever it is asked for."""


class SentImages:
    """Image files in memory that stand for the files of one folder: they are decoded as `read_decoded` does it.

    Args:
        contents: the bytes of each file by its path, which need not exist.
        kept_bytes: so many bytes of decoded pixels are kept at most.
    """

    def __init__(self, contents: Mapping[Path, bytes], kept_bytes: int = KEPT_BYTES) -> None:
        self.contents, self.kept_bytes = contents, kept_bytes
        self._depths: dict[str, int | None] = {}
        self._kept: dict[Path, Decoded] = {}
        self._kept_bytes = 0

    def read(self, path: Path) -> UInt8Image:
        """Read one image as `read_image` does.

        Raises:
            ImageError: as `read_image`.
        """
        return np.ascontiguousarray(self.decoded(path).pixels)

    def scale(self, path: Path) -> FoundScale | None:
        """Return what the file states of its scale."""
        return scale_in(self.contents[path])

    def decoded(self, path: Path) -> Decoded:
        """Read one image as `read_decoded` does. The first images are kept, so that each is decoded once.

        Raises:
            ImageError: as `read_image`.
        """
        if path in self._kept:
            return self._kept[path]
        found = at_depth_beside(path, self._decoded, lambda: self._depth_beside(path.suffix))
        if self._kept_bytes + found.pixels.nbytes <= self.kept_bytes:
            self._kept[path] = found
            self._kept_bytes += found.pixels.nbytes
        return found

    def _decoded(self, path: Path, bits: int | None = None) -> Decoded:
        return decoded_from(BytesIO(self.contents[path]), path, bits)

    def _depth_beside(self, suffix: str) -> int | None:
        if suffix not in self._depths:
            self._depths[suffix] = common_depth(
                [path for path in self.contents if path.suffix == suffix], self._decoded
            )
        return self._depths[suffix]
