"""Parts of a field at a working scale in micrometers, so that memory does not grow with the image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from PIL import Image

from hemabridge.fields.field_image import FieldPixels
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.sampling import evenly_spaced

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels at working scale, the last two exclusive."""

BAND_PX: Final = 1024
"""Number of rows of the image that are read at once to make a small copy of the whole."""

SAMPLED: Final = 9
"""Largest number of parts that stand for the whole of a large image."""


@dataclass(frozen=True)
class View:
    """An image at working scale, of which only parts are made.

    Attributes:
        image: the pixels, uint8[H, W, 3], or a file of which parts are read.
        factor: pixels of the image per pixel at working scale, at least 1.
        um_per_px: of the image.
    """

    image: FieldPixels
    factor: float
    um_per_px: float

    @classmethod
    def at(cls, image: FieldPixels, um_per_px: float, work_um: float) -> "View":
        """Return an image of `um_per_px` as seen with pixels of `work_um`; a coarser image is not enlarged."""
        return cls(image, max(1.0, work_um / um_per_px), um_per_px)

    @property
    def um(self) -> float:
        """Micrometers per pixel at working scale."""
        return self.factor * self.um_per_px

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width at working scale."""
        height, width = self.image.shape[:2]
        return max(1, round(height / self.factor)), max(1, round(width / self.factor))

    def part(self, box: Box) -> UInt8Image:
        """Return the part (top, left, bottom, right) at working scale: averages of the image's pixels."""
        top, left, bottom, right = box
        height, width = self.image.shape[:2]
        first_row, first_column = int(top * self.factor), int(left * self.factor)
        last_row = min(height, int(np.ceil(bottom * self.factor)) + 1)
        last_column = min(width, int(np.ceil(right * self.factor)) + 1)
        own = Image.fromarray(np.ascontiguousarray(self.image[first_row:last_row, first_column:last_column]))
        source = (
            left * self.factor - first_column,
            top * self.factor - first_row,
            min(right * self.factor, width) - first_column,
            min(bottom * self.factor, height) - first_row,
        )
        return np.asarray(own.resize((right - left, bottom - top), Image.Resampling.BOX, box=source))

    def whole(self) -> UInt8Image:
        """Return the whole image at working scale, made in bands so that memory holds little of a large image."""
        height, width = self.shape
        band = max(1, round(BAND_PX / self.factor))
        bands = [self.part((top, 0, min(height, top + band), width)) for top in range(0, height, band)]
        return np.concatenate(bands)

    def sample(self, tile_px: int) -> list[Box]:
        """Return up to `SAMPLED` tiles of `tile_px` at working scale, evenly spaced over all."""
        boxes = [core for core, _ in self.tiles(tile_px, 0.0)]
        return [boxes[place] for place in evenly_spaced(len(boxes), SAMPLED, ends=True)]

    def tiles(self, tile_px: int, overlap_um: float) -> Iterator[tuple[Box, Box]]:
        """Yield the core of each tile, and the core with its overlap; together the cores cover the image once."""
        height, width = self.shape
        overlap = round(overlap_um / self.um)
        for top in range(0, height, tile_px):
            for left in range(0, width, tile_px):
                bottom, right = min(height, top + tile_px), min(width, left + tile_px)
                window = (
                    max(0, top - overlap),
                    max(0, left - overlap),
                    min(height, bottom + overlap),
                    min(width, right + overlap),
                )
                yield (top, left, bottom, right), window
