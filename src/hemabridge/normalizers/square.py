"""Re-staining of a whole photograph by measurements of the square around its cell.

A model is trained and scored on that square, cut and resized by a `CropSpec`. All measurements that a re-staining
depends on (white point, mean, thumbnail, statistics of instance norm) are taken from the same square in a photograph.
The result does therefore not depend on how much of the smear the photograph shows around the cell.
"""

from collections.abc import Hashable
from functools import cache
from typing import Final, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import TILE_PIXELS, Standardizer, UInt8Image, UInt8Images, by_rows
from hemabridge.normalizers.color_table import fit_table, interpolation

NODES: Final = 9
"""Nodes of the color map of the surroundings along red, green and blue; the colors of one cell determine no more."""

RIM_SHARE: Final = 1 / 8
"""Width of the rim around the square in which its change is blended with that of the surroundings, as a share of the
square's side."""


LEAST_SHOWN: Final = 0.5
"""Share of the square's area below which a picture does not show what a method measures on the square."""


@runtime_checkable
class SquareMeasuring(Protocol):
    """A standardizer that can re-stain images by measurements of other images."""

    @property
    def is_pointwise(self) -> bool:
        """Whether a pixel's new color depends only on its old color and on the measurements."""
        ...

    def standardize_by(self, images: UInt8Images, squares: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3] by measurements of uint8[N, S, S, 3]; only for pointwise standardizers."""
        ...


@runtime_checkable
class SquareRemarking(SquareMeasuring, Protocol):
    """One that can also give a remark about these measurements."""

    @property
    def measures_square(self) -> bool:
        """Whether it measures the square at all; if not, `restained_by` takes any picture for it."""
        ...

    def restained_by(self, image: UInt8Image, square: UInt8Image) -> tuple[UInt8Image, str]:
        """Return a re-stained copy of uint8[H, W, 3], by measurements of uint8[S, S, 3], and the remark."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A standardizer that can give a remark about the re-staining of an image."""

    def remark(self, image: UInt8Image) -> str:
        """Return what has to be said of the re-staining of uint8[H, W, 3]; mostly nothing."""
        ...

    def restained(self, image: UInt8Image) -> tuple[UInt8Image, str]:
        """Return a re-stained copy of uint8[H, W, 3] and the remark; the image is measured once for both."""
        ...


def is_remarking(standardizer: object) -> TypeGuard[Remarking]:
    """Return whether a standardizer is `Remarking`, of which each class is asked once: protocols answer slowly."""
    return _is_remarking_class(cast("Hashable", type(standardizer)))  # mypy takes no class for hashable


@cache
def _is_remarking_class(kind: type[object]) -> bool:
    return issubclass(kind, Remarking)


@runtime_checkable
class OfPart(Protocol):
    """A standardizer that measures the composition of the square, which a smaller picture does not show."""

    def of_part(self) -> Standardizer:
        """Return what re-stains a picture that shows less than `LEAST_SHOWN` of the square, by the site's measures."""
        ...


class SquareStandardizer:
    """Re-stains photographs of any size by the cell's square in their center.

    If `inner` is pointwise (`SquareMeasuring`), all pixels are re-stained by measurements of the square. Any other
    `inner`, such as a convolutional network, re-stains the square only, at the size at which it was scored. The change
    of color is resized and added to the original, so that finer detail comes from the original. The surroundings are
    re-stained by a color map fitted to the square before and after (`color_change`). Within a rim around the square
    (`RIM_SHARE`) the two changes are blended.

    The result for a pixel does not depend on how much of the smear the photograph shows.
    """

    def __init__(self, inner: Standardizer, crop: CropSpec) -> None:
        self.inner = inner
        self.crop = crop
        self._remarking = inner if isinstance(inner, SquareRemarking) else None

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Re-stain uint8[N, H, W, 3]."""
        if len(images) == 0:
            return images.copy()
        squares = self.crop.cut_all(images)
        inner = self.inner
        if isinstance(inner, OfPart) and self._is_part(images[0]):
            inner = inner.of_part()
        if isinstance(inner, SquareMeasuring) and inner.is_pointwise:
            return inner.standardize_by(images, squares)
        restained = inner.standardize(squares)
        return np.stack([self._joined(image, *cells) for image, *cells in zip(images, squares, restained, strict=True)])

    def remark(self, image: UInt8Image) -> str:
        """Return what has to be said of the re-staining of uint8[H, W, 3]; mostly nothing."""
        own = self.inner.remark(self.crop.cut(image)) if is_remarking(self.inner) else ""
        part = f"the picture shows less than half of the square of {self.crop.crop_px} pixels around a cell"
        return "; ".join(filter(None, (part if self._is_part(image) else "", own)))

    def _is_part(self, image: UInt8Image) -> bool:
        if self.crop.crop_px == "whole":
            return False
        side = self.crop.crop_px
        shown = min(image.shape[0], side) * min(image.shape[1], side)
        return bool(shown < LEAST_SHOWN * side**2)

    def restained(self, image: UInt8Image) -> tuple[UInt8Image, str]:
        """Return a re-stained copy of uint8[H, W, 3] and the remark; the image is measured once for both."""
        inner = self._remarking
        if inner is not None and inner.is_pointwise and not self._is_part(image):
            return inner.restained_by(image, self.crop.cut(image) if inner.measures_square else image)
        return self.standardize(image[None])[0], self.remark(image)

    def _joined(self, image: UInt8Image, square: UInt8Image, restained: UInt8Image) -> UInt8Image:
        """Return the photograph with the change of the square inside it, and the color map applied around it."""
        height, width = image.shape[:2]
        change = restained.astype(np.float32) - square
        if self.crop.crop_px == "whole":
            return _with_resized(image, change)
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
    """Return the change of colors in the square around a cell, as a smooth table float64[NODES^3, 3] in gray levels.

    Colors that do not occur in the square change like similar ones, and by no more than the colors of the square.
    """
    colors = square.reshape(-1, 3).astype(np.float64)
    change = restained.reshape(-1, 3).astype(np.float64) - colors
    return np.clip(fit_table(colors, change, NODES), change.min(axis=0), change.max(axis=0))


def _looked_up(nodes: NDArray[np.float64], image: UInt8Image) -> NDArray[np.float64]:
    found = interpolation(image.reshape(-1, 3), NODES) @ nodes
    return np.asarray(found, np.float64).reshape(image.shape)


def _with_resized(image: UInt8Image, change: NDArray[np.float32]) -> UInt8Image:
    """Return the image with a change, float32[S, S, 3], that is resized to it, a few rows at a time."""
    height, width = image.shape[:2]
    out = np.empty_like(image)
    rows = max(1, TILE_PIXELS // width)
    for start in range(0, height, rows):
        end = min(start + rows, height)
        out[start:end] = _changed(image[start:end], _resized(change, (width, height), (start, end)))
    return out


def _changed(image: UInt8Image, change: NDArray[np.floating]) -> UInt8Image:
    return np.clip(np.rint(image + change), 0, 255).astype(np.uint8)


def _fading(side: int, rim: int) -> NDArray[np.float32]:
    """Return the weight of the square's change, float32[side + 2 rim, side + 2 rim]: 1 inside, falling outside."""
    places = np.arange(side + 2 * rim)
    outside = np.maximum(0, np.maximum(rim - places, places - (side + rim - 1)))
    return np.asarray(1 - np.maximum(outside[:, None], outside) / (rim + 1), np.float32)


def _resized(
    change: NDArray[np.float32], size: tuple[int, int], rows: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Resize float32[H, W, 3] to `size` (width, height); of that return only some rows, from and to, if given."""
    (width, height), (own_height, own_width) = size, change.shape[:2]
    start, end = rows or (0, height)
    # Around the box, Pillow's filter sees the pixels of the whole picture, so that there are no seams.
    box = (0, start * own_height / height, own_width, end * own_height / height)
    bands = [
        Image.fromarray(change[:, :, band]).resize((width, end - start), Image.Resampling.BICUBIC, box=box)
        for band in range(3)
    ]
    return np.stack([np.asarray(band) for band in bands], axis=2)
