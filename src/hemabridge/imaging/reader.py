"""What reads the images of a command: from their files, from memory, or from a request."""

from pathlib import Path
from typing import Final, Protocol

from hemabridge.imaging.files import read_image
from hemabridge.imaging.found_scale import FoundScale, read_scale
from hemabridge.imaging.standardizer import UInt8Image


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
