"""Whole-slide files of scanners, read part by part by OpenSlide. Needs the extra `slides`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from hemabridge.errors import ImageError, MissingExtraError
from hemabridge.fields.field_image import FieldImage, Window, bounds, level_for, plausible_um
from hemabridge.imaging.standardizer import UInt8Image

SLIDE_SUFFIXES: Final = frozenset({".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu"})
"""Lower-case suffixes of files that OpenSlide reads; a TIFF file is read by `fields.tiff_image`."""


class SlidePixels:
    """One level of a slide; the slide must stay open."""

    def __init__(self, slide: Any, level: int) -> None:
        self._slide, self._level = slide, level

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, and 3."""
        width, height = self._slide.level_dimensions[self._level]
        return height, width, 3

    def __getitem__(self, window: Window, /) -> UInt8Image:
        """Read a part: uint8[h, w, 3]; white where nothing was scanned."""
        top, left, bottom, right = bounds(window, self.shape)
        factor = self._slide.level_downsamples[self._level]
        corner = round(left * factor), round(top * factor)
        part = self._slide.read_region(corner, self._level, (right - left, bottom - top))
        white = Image.new("RGBA", part.size, "white")
        return np.asarray(Image.alpha_composite(white, part).convert("RGB"))


@contextmanager
def open_slide(path: Path) -> Iterator[FieldImage]:
    """Open a slide at the level that shows cells well enough.

    Raises:
        ImageError: it is damaged, or of no scanner that OpenSlide knows.
        MissingExtraError: OpenSlide is not installed.
    """
    try:
        import openslide
    except (ModuleNotFoundError, OSError) as error:
        raise MissingExtraError(f"{path}: slides need OpenSlide: pip install 'hemabridge[slides]'") from error
    try:
        with openslide.OpenSlide(path) as slide:
            stated = slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
            um_per_px = plausible_um(float(stated)) if stated else None
            level = level_for(um_per_px, list(slide.level_downsamples))
            scale = None if um_per_px is None else um_per_px * slide.level_downsamples[level]
            yield FieldImage(SlidePixels(slide, level), scale)
    except openslide.OpenSlideError as error:
        raise ImageError(f"{path}: expected a whole slide, could not read it ({error}); export it again") from error
