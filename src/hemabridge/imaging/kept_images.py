"""Images of files that a command needs several times: each file is read and hashed once."""

import hashlib
from pathlib import Path

import numpy as np

from hemabridge.imaging.files import read_file
from hemabridge.imaging.found_scale import FoundScale, read_scale, scale_in
from hemabridge.imaging.reader import KEPT_BYTES
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.storage.files import sha256_of


class KeptImages:
    """Reads image files as `read_image` does, and keeps the first ones with the SHA-256 of their files.

    Args:
        kept_bytes: so many bytes of pixels are kept at most; further files are read whenever they are asked for.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._left = kept_bytes
        self._kept: dict[Path, tuple[UInt8Image, str]] = {}
        self._scales: dict[Path, FoundScale | None] = {}

    def read(self, path: Path) -> UInt8Image:
        """Return the image of a file, RGB uint8[H, W, 3], read-only.

        Raises:
            ImageError: as `read_image`.
        """
        return self.hashed(path)[0]

    def hashed(self, path: Path) -> tuple[UInt8Image, str]:
        """Return the same, and the SHA-256 of the file.

        Raises:
            ImageError: as `read_image`.
        """
        if path in self._kept:
            return self._kept[path]
        decoded, held = read_file(path)
        image = np.ascontiguousarray(decoded.pixels)
        image.flags.writeable = False
        found = image, sha256_of(path) if held is None else hashlib.sha256(held).hexdigest()
        self._scales[path] = read_scale(path) if held is None else scale_in(held)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[path] = found
        return found

    def scale(self, path: Path) -> FoundScale | None:
        """Return what a file states of its scale; one that was read before is not opened again."""
        return self._scales[path] if path in self._scales else read_scale(path)
