"""Scale: square crops in which the nuclei of all sites have about the same size."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from hemabridge.errors import ImageError
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

CropPx: TypeAlias = int | Literal["whole"]
"""The crop of a cell: side of a central square in pixels, or `whole` for the whole image, resized to a square."""

MAX_CROP_PX: Final = 10_000
"""Largest side of a crop, in pixels: that of a square of `declared_size.MAX_PIXELS`."""

WrittenCropPx: TypeAlias = Annotated[int, Field(ge=1, le=MAX_CROP_PX)] | Literal["whole"]
"""The same in the files of models, with validation."""

NUCLEUS_FRACTION = 0.53
"""Diameter of the median nucleus as a share of the side of the crop, where nuclei alone give it.

The median nuclei of three laboratories (99, 47 and 173 px) then give crops of about 180, 90 and 330 px, in which nuclei
appear equally large.
"""

LEAST_CELL_PX = 8
"""Smallest side of an image that can show a cell, in pixels; below it a nucleus cannot be distinguished from dirt."""


def check_shows_cell(image: UInt8Image) -> None:
    """Check that uint8[H, W, 3] is large enough to show a cell.

    Raises:
        ImageError: a side is below `LEAST_CELL_PX`.
    """
    height, width = image.shape[:2]
    if min(height, width) < LEAST_CELL_PX:
        raise ImageError(
            f"expected an image of at least {LEAST_CELL_PX} x {LEAST_CELL_PX} pixels, to show a cell, got "
            f"{width} x {height}; export it larger, or leave it out"
        )


def crop_center(image: UInt8Image, crop_px: int) -> UInt8Image:
    """Cut the central square of `crop_px` pixels; outside of the image, edge pixels are repeated.

    Args:
        image: uint8[H, W, 3].
        crop_px: Side in pixels, 1..`MAX_CROP_PX`.

    Returns:
        uint8[crop_px, crop_px, 3], a copy.

    Raises:
        ImageError: `crop_px` is below 1 or above `MAX_CROP_PX`.
    """
    _check_side(crop_px, "crop_px")
    height, width = image.shape[:2]
    if crop_px <= min(height, width):
        top, left = (height - crop_px) // 2, (width - crop_px) // 2
        return image[top : top + crop_px, left : left + crop_px].copy()
    rows, columns = (_central(side, crop_px) for side in (height, width))
    return np.ascontiguousarray(image[rows[:, None], columns])


def resize_square(image: UInt8Image, size_px: int) -> UInt8Image:
    """Resize a square image to `size_px` pixels: by Lanczos to a smaller, bicubic to a larger size.

    Raises:
        ImageError: The image is not square, or `size_px` is below 1 or above `MAX_CROP_PX`.
    """
    _check_side(size_px, "size_px")
    height, width = image.shape[:2]
    if height != width:
        raise ImageError(f"expected a square image to resize, got {width} x {height}; crop it first")
    if height == size_px:
        return image.copy()
    method = Image.Resampling.LANCZOS if size_px < height else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize((size_px, size_px), method))


def scale_matched(image: UInt8Image, crop_px: int, size_px: int) -> UInt8Image:
    """Return the central `crop_px` square of an image at `size_px`: uint8[size_px, size_px, 3]."""
    return resize_square(crop_center(image, crop_px), size_px)


def squeezed(image: UInt8Image, size_px: int) -> UInt8Image:
    """Return the whole image as a square, uint8[size_px, size_px, 3]: bicubic, without its aspect ratio.

    This is how the reference implementation of CycleGAN (Zhu et al. 2017, doi:10.1109/ICCV.2017.244) loads images.
    """
    _check_side(size_px, "size_px")
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize((size_px, size_px), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class CropSpec:
    """The crop of a cell from the original image, and the size of the result.

    Attributes:
        crop_px: Side of the original's central square, in pixels (`scale_matched`), 1..`MAX_CROP_PX`; or `whole` for
            the whole image (`squeezed`).
        size_px: Side S in pixels of the result, 1..`MAX_CROP_PX`.

    Raises:
        ImageError: a side is outside of this range.
    """

    crop_px: CropPx
    size_px: int

    def __post_init__(self) -> None:
        if self.crop_px != "whole":
            _check_side(self.crop_px, "crop_px")
        _check_side(self.size_px, "size_px")

    def cut(self, image: UInt8Image) -> UInt8Image:
        """Cut the cell out of uint8[H, W, 3]: uint8[S, S, 3], a copy."""
        if self.crop_px == "whole":
            return squeezed(image, self.size_px)
        return scale_matched(image, self.crop_px, self.size_px)

    def cut_all(self, images: UInt8Images) -> UInt8Images:
        """Cut the cells out of uint8[N, H, W, 3]: uint8[N, S, S, 3], a copy."""
        out: UInt8Images = np.empty((len(images), self.size_px, self.size_px, 3), np.uint8)
        for place, image in enumerate(images):
            out[place] = self.cut(image)
        return out


def px_of(um: float, um_per_px: float) -> int:
    """Return a length in micrometers as pixels, 1..`MAX_CROP_PX`."""
    return min(MAX_CROP_PX, max(1, round(um / um_per_px)))


def side_at(scale: FoundScale | None, crop_um: float | None, otherwise: CropPx | None) -> CropPx | None:
    """Return the square around a cell in one image.

    Args:
        scale: what its file states; None if it states nothing.
        crop_um: side of the square in micrometers; None if another one was stated.
        otherwise: the side for images without a scale; where whole images are used, they stay whole.
    """
    if scale is None or crop_um is None or otherwise == "whole":
        return otherwise
    return px_of(crop_um, scale.um_per_px)


def nucleus_diameter_px(image: UInt8Image) -> float | None:
    """Return the diameter in pixels of the disc with the nucleus's area; None where no nucleus was found."""
    area = np.count_nonzero(segment(image).nucleus)
    return float(np.sqrt(4 * area / np.pi)) if area else None


def _central(side: int, crop_px: int) -> NDArray[np.intp]:
    """Return the indices of `crop_px` central pixels of a side, limited to its ends."""
    first = (side - crop_px) // 2
    return np.clip(np.arange(first, first + crop_px), 0, side - 1)


def _check_side(side_px: int, name: str) -> None:
    if not 1 <= side_px <= MAX_CROP_PX:
        raise ImageError(f"expected {name} of 1 to {MAX_CROP_PX:,} pixels, got {side_px:,}")
