"""Normalizers that look colors up in a table, and the table that is learned for one frozen classifier."""

from functools import lru_cache
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from pydantic import Field

from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.color_table import NODES
from hemabridge.normalizers.levels import Level, Rgb
from hemabridge.normalizers.measures import white_curves
from hemabridge.normalizers.normalizer import Measured, Normalizer

Table: TypeAlias = Annotated[tuple[Level, ...], Field(min_length=3 * NODES**3, max_length=3 * NODES**3)]
"""Colors of all nodes one after the other, red slowest, blue fastest."""


class TableNormalizer(Normalizer):
    """Map every color by a table.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255; each image first gets this white point.
        table: color of each node, sRGB 0..255; between the nodes it is trilinear.
    """

    target_white: Rgb
    table: Table

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with every color looked up."""
        return self.known_colors.mapped(image, self._found, white_curves(measured.white, self.target_white))

    def colors(self) -> NDArray[np.float64]:
        """Return the colors of the nodes, float64[NODES^3, 3], sRGB 0..255; red slowest, blue fastest."""
        return _colors(self.table)

    def _found(self, white: UInt8Image) -> UInt8Image:
        """Return uint8[H, W, 3] with every color looked up."""
        return np.asarray(Image.fromarray(white).filter(_filter(self.table)))


class LearnedLut(TableNormalizer):
    """A color table that is learned so that one frozen classifier reproduces the predictions of an ensemble.

    `hemabridge.ensemble.lut_learning` learns it. Using it needs no PyTorch.

    Attributes:
        learned_for: SHA-256 of the classifier's weights; the table is valid for this classifier only.
    """

    method: Literal["learned-lut"] = "learned-lut"
    learned_for: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Raise an error: a learned color LUT cannot be fitted on two sets of images.

        Raises:
            InputError: always.
        """
        raise InputError(
            "expected a table that a study learned, got two sets of images; "
            "add [ensemble.learned_lut] to the recipe of a study"
        )


@lru_cache(maxsize=8)
def _colors(table: Table) -> NDArray[np.float64]:
    colors = np.asarray(table, np.float64).reshape(-1, 3)
    colors.setflags(write=False)
    return colors


@lru_cache(maxsize=8)
def _filter(table: Table) -> ImageFilter.Color3DLUT:
    """Return the table for Pillow, which interpolates in fixed point: within one gray level of floating point."""
    nodes = _colors(table).reshape(NODES, NODES, NODES, 3)
    fastest_red = nodes.transpose(2, 1, 0, 3) / 255
    return ImageFilter.Color3DLUT(NODES, fastest_red.astype(np.float32).ravel())


def as_table(colors: NDArray[np.float64]) -> Table:
    """Return node colors [NODES^3, 3] as a tuple, rounded to 0.001; values outside 0..255 are clipped."""
    return tuple(np.round(np.clip(colors, 0, 255), 3).ravel().tolist())
