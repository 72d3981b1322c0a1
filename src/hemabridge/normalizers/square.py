"""A whole photograph re-stained by what is measured of the square around its cell.

A model is trained and scored on that square, cut and resized by a `CropSpec`. Whatever it measures of an image (white
point, mean, thumbnail, the statistics of instance norm) is therefore measured of the same square when a photograph is
re-stained, however much of the smear the photograph shows around it.
"""

from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import Standardizer, UInt8Image, UInt8Images, by_rows
from hemabridge.normalizers.color_table import fit_table, interpolation

NODES: Final = 9
"""Nodes of the color map of the surroundings along each of red, green and blue: one cell's colors fill no finer one."""

RIM_SHARE: Final = 1 / 8
"""Around the square, over this share of its side, its change fades into that of the surroundings."""


@runtime_checkable
class SquareMeasuring(Protocol):
    """A standardizer that may re-stain images by what it measures of other images."""

    @property
    def is_pointwise(self) -> bool:
        """Whether a pixel's new color depends on nothing but its old one and what was measured."""
        ...

    def standardize_by(self, images: UInt8Images, squares: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3], each by what is measured of uint8[N, S, S, 3]; if it is pointwise."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A standardizer that may have to say something of the re-staining of an image."""

    def remark(self, image: UInt8Image) -> str:
        """Return what has to be said of the re-staining of uint8[H, W, 3]; mostly nothing."""
        ...


class SquareStandardizer:
    """Re-stains photographs of any size by the cell's square in their center.

    If `inner` is pointwise (`SquareMeasuring`), all pixels are re-stained by what it measures of the square. Any other
    `inner`, such as a convolutional network, re-stains the square alone, as it did when it was scored; its change,
    resized, is added to the original, so that what is finer comes from the original. The surroundings are then
    re-stained by the color map from the square's old to its new colors (`color_change`), not by the network. Within a
    rim around the square (`RIM_SHARE`) the one change fades into the other.

    So what becomes of a pixel never depends on how much of the smear a photograph shows.
    """

    def __init__(self, inner: Standardizer, crop: CropSpec) -> None:
        self.inner = inner
        self.crop = crop

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3]."""
        if len(images) == 0:
            return images.copy()
        squares = self.crop.cut_all(images)
        if isinstance(self.inner, SquareMeasuring) and self.inner.is_pointwise:
            return self.inner.standardize_by(images, squares)
        restained = self.inner.standardize(squares)
        return np.stack([self._joined(image, *cells) for image, *cells in zip(images, squares, restained, strict=True)])

    def remark(self, image: UInt8Image) -> str:
        """Return what has to be said of the re-staining of uint8[H, W, 3]; mostly nothing."""
        return self.inner.remark(self.crop.cut(image)) if isinstance(self.inner, Remarking) else ""

    def _joined(self, image: UInt8Image, square: UInt8Image, restained: UInt8Image) -> UInt8Image:
        """Return the photograph with the square's change in its place, and its color map around it."""
        height, width = image.shape[:2]
        change = restained.astype(np.float32) - square
        if self.crop.crop_px == "whole":
            return _changed(image, _resized(change, (width, height)))
        side = self.crop.crop_px
        top, left = (height - side) // 2, (width - side) // 2
        out = image.copy()
        if top > 0 or left > 0:
            nodes = color_change(square, restained)
            out = by_rows(image, lambda rows: _changed(rows, _looked_up(nodes, rows)))
        rim = max(1, round(RIM_SHARE * side))
        inside = _resized(change, (side, side))
        weight = _fading(side, rim)
        rows, columns = (slice(max(0, first - rim), first + side + rim) for first in (top, left))
        seen = tuple(
            slice(max(0, rim - first), max(0, rim - first) + len(range(length)[where]))
            for first, length, where in ((top, height, rows), (left, width, columns))
        )
        own = _changed(image[rows, columns], np.pad(inside, ((rim, rim), (rim, rim), (0, 0)), mode="edge")[seen])
        share = weight[seen][..., None]
        around = out[rows, columns].astype(np.float32)
        out[rows, columns] = np.rint(share * own + (1 - share) * around).astype(np.uint8)
        return out


def color_change(square: UInt8Image, restained: UInt8Image) -> NDArray[np.float64]:
    """Return how the colors of a cell's square were changed, as a smooth table float64[NODES^3, 3] in gray levels.

    Colors that the square does not show change as those near to them, at most as much as any color of the square.
    """
    colors = square.reshape(-1, 3).astype(np.float64)
    change = restained.reshape(-1, 3).astype(np.float64) - colors
    return np.clip(fit_table(colors, change, NODES), change.min(axis=0), change.max(axis=0))


def _looked_up(nodes: NDArray[np.float64], image: UInt8Image) -> NDArray[np.float64]:
    found = interpolation(image.reshape(-1, 3), NODES) @ nodes
    return np.asarray(found, np.float64).reshape(image.shape)


def _changed(image: UInt8Image, change: NDArray[np.floating]) -> UInt8Image:
    return np.clip(np.rint(image + change), 0, 255).astype(np.uint8)


def _fading(side: int, rim: int) -> NDArray[np.float32]:
    """Return the weight of the square's own change, float32[side + 2 rim, side + 2 rim]: 1 inside, less outside."""
    places = np.arange(side + 2 * rim)
    outside = np.maximum(0, np.maximum(rim - places, places - (side + rim - 1)))
    return np.asarray(1 - np.maximum(outside[:, None], outside) / (rim + 1), np.float32)


def _resized(change: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize float32[H, W, 3] to `size` (width, height)."""
    bands = [Image.fromarray(change[:, :, band]).resize(size, Image.Resampling.BICUBIC) for band in range(3)]
    return np.stack([np.asarray(band) for band in bands], axis=2)
