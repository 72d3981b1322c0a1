"""The scale of a cell that `hemabridge find` cut out of its field, as a mark in its file.

The mark is one line of ASCII in a PNG file (`write_image`, `description`), so that it stays with a crop wherever it is
moved. It states the side in pixels too: after another program has resized the picture, the mark no longer holds.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SEARCHED_BYTES: Final = 4096
"""The mark stands before the pixels, this near to the beginning of a file."""

_MARK: Final = re.compile(rb"hemabridge cell: um_per_px=([0-9]\.[0-9]{6}) side_px=([0-9]{1,5});")
_PNG: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_MOST_UM: Final = 9.9


@dataclass(frozen=True)
class FoundScale:
    """What the file of a crop states.

    Attributes:
        um_per_px: micrometers per pixel, above 0.
        side_px: width and height of the crop.
    """

    um_per_px: float
    side_px: int

    @property
    def mark(self) -> str:
        """The line in the file; empty for a scale that no microscope has."""
        if not 1e-6 <= self.um_per_px <= _MOST_UM:
            return ""
        return f"hemabridge cell: um_per_px={self.um_per_px:.6f} side_px={self.side_px};"


def read_scale(path: Path) -> FoundScale | None:
    """Return what the file of a crop states; None if it is no such file, or was resized, or cannot be read."""
    try:
        if not path.is_file():  # reading a pipe would block
            return None
        with path.open("rb") as file:
            return scale_in(file.read(SEARCHED_BYTES))
    except OSError:
        return None


def scale_in(content: bytes) -> FoundScale | None:
    """Return the same for the content of a file, or its beginning."""
    match = _MARK.search(content, 0, SEARCHED_BYTES) if content.startswith(_PNG) else None
    if match is None:
        return None
    um_per_px, side = float(match[1]), int(match[2])
    size = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    return FoundScale(um_per_px, side) if um_per_px > 0 and size == (side, side) else None
