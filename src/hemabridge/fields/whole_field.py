"""The rule by which every command that takes single cells recognizes a whole field."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.fields.density import resized
from hemabridge.fields.detect import Leukocyte, find_leukocytes
from hemabridge.fields.field_scale import estimate_scale
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.reader import FILES, ImageReader
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.sampling import evenly_spaced

ADVICE: Final = "a whole field is no single cell; cut its cells out first: hemabridge find FIELDS OUT"
"""The advice in every message about whole fields."""

LEAST_PX: Final = 200
"""Shorter side of the smallest field, in pixels: 50 um at 0.25 um per pixel, at which nuclei can just be recognized."""

SURE_PX: Final = 2000
"""Shorter side from which an image is a field by its size alone: a cell is 20 um wide, and a pixel at least 0.01 um."""

WIDE_UM: Final = 65.0
"""Longer side from which an image is a field, whatever it shows. The fields of BCCD have 46 to 63 um."""

NARROW_UM: Final = 42.0
"""Longer side from which an image without a leukocyte in its middle is a field. Crops of cells have 25 to 40 um."""

MIDDLE: Final = 0.42
"""Largest distance of a cell from the middle of its crop, as a share of half the shorter side."""

LEAST_RED_CELLS: Final = 5
"""Smallest number of red cells from which the width of an image is estimated; three or four may be granules."""

SEVERAL: Final = 4
"""Number of leukocytes, none cut by the border, from which an image is a field."""

SAMPLED: Final = 24
"""Number of images of a folder that are checked as a sample."""

LEAST_SHARE: Final = 0.25
"""Share of the sampled images of one size that are fields by themselves, from which all images of that size are."""

LEAST_CELLS: Final = 8
"""Number of sampled images of one size, none of them a field, from which others of that size are not checked."""

_LOOK_PX: Final = 400


def is_whole_field(image: UInt8Image) -> bool:
    """Return whether an image shows a whole field rather than one cell.

    Its red cells say how wide it is in micrometers. It is a field if it is far wider than a cell; if it is wider than
    the crop of a cell and has no leukocyte in its middle; or if it has several leukocytes. A field with one leukocyte
    in its middle may be taken for a cell.

    Args:
        image: RGB uint8[H, W, 3].
    """
    short, long = sorted(image.shape[:2])
    if short < LEAST_PX:
        return False
    if short >= SURE_PX:
        return True
    small = resized(image, min(1.0, _LOOK_PX / long))
    scale = estimate_scale(small, is_quick=True)
    if scale is None:
        return False
    sure = scale.source == "red cells" and scale.cells >= LEAST_RED_CELLS
    long_um = max(small.shape[:2]) * scale.um_per_px if sure else 0.0
    if long_um > WIDE_UM:
        return True
    cells = find_leukocytes(small, scale, with_small=False).leukocytes
    several = sum(not cell.border for cell in cells) >= SEVERAL
    return bool(several or (long_um > NARROW_UM and not any(_is_in_the_middle(cell, small) for cell in cells)))


@dataclass(frozen=True)
class FieldCheck:
    """The result of checking a sample of a folder for whole fields.

    An image that states its scale (`FoundScale`) is a crop that `hemabridge find` cut out, so none of them.

    Attributes:
        sizes: heights and widths at which so many sampled images are fields that all images of the size count as such.
        cell_sizes: heights and widths at which many images were sampled and none is a field; others are not checked.
        sampled, noticed: number of images in the sample, and of fields among them.
        answers: whether each sampled image is a field; `reason` takes it from here if it is given the path.
    """

    sizes: frozenset[tuple[int, int]] = frozenset()
    cell_sizes: frozenset[tuple[int, int]] = frozenset()
    sampled: int = 0
    noticed: int = 0
    answers: Mapping[Path, bool] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, paths: Sequence[Path], images: ImageReader = FILES) -> "FieldCheck":
        """Check up to `SAMPLED` evenly spaced images; those that `images` cannot read are left out."""
        answers: dict[tuple[int, int], list[bool]] = defaultdict(list)
        by_path = {}
        for place in evenly_spaced(len(paths), SAMPLED):
            try:
                image = images.read(paths[place])
            except (ImageError, OSError, MemoryError):
                continue
            is_crop = images.scale(paths[place]) is not None
            by_path[paths[place]] = not is_crop and is_whole_field(image)
            if not is_crop:
                answers[image.shape[0], image.shape[1]].append(by_path[paths[place]])
        sizes = frozenset(size for size, own in answers.items() if sum(own) > 1 and np.mean(own) >= LEAST_SHARE)
        cells = frozenset(size for size, own in answers.items() if len(own) >= LEAST_CELLS and not any(own))
        noticed = sum(len(own) if size in sizes else sum(own) for size, own in answers.items())
        return cls(sizes, cells, len(by_path), noticed, by_path)

    def reason(self, image: UInt8Image, path: Path | None = None, scale: FoundScale | None = None) -> str:
        """Return why RGB uint8[H, W, 3] cannot be used as a cell, and what to do; empty if it is none of the fields.

        `scale` is what the file of the image states.
        """
        if scale is not None:
            return ""
        height, width = image.shape[:2]
        size = height, width
        if size in self.sizes or (size not in self.cell_sizes and self._is_field(image, path)):
            return f"expected a single cell, got an image of {width} x {height} pixels that is a whole field: {ADVICE}"
        return ""

    def _is_field(self, image: UInt8Image, path: Path | None) -> bool:
        known = None if path is None else self.answers.get(path)
        return is_whole_field(image) if known is None else known

    def remark(self, image: UInt8Image, path: Path | None = None, scale: FoundScale | None = None) -> str:
        """Return what to remark on the row of an image that is used nevertheless; usually empty."""
        return ADVICE if self.reason(image, path, scale) else ""

    def warning(self, what: str) -> str:
        """Return one line for the user of a command about the images of `what`; empty if no field was noticed."""
        if not self.noticed:
            return ""
        return (
            f"warning: {self.noticed} of {self.sampled} images of {what} that were checked are whole fields; {ADVICE}"
        )


def _is_in_the_middle(cell: Leukocyte, image: UInt8Image) -> bool:
    height, width = image.shape[:2]
    return bool(2 * max(abs(cell.x - width / 2), abs(cell.y - height / 2)) <= MIDDLE * min(height, width))
