"""The one protocol of everything that re-stains an image."""

from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

UInt8Image: TypeAlias = NDArray[np.uint8]
"""One RGB image, uint8[H, W, 3], 0..255."""

UInt8Images: TypeAlias = NDArray[np.uint8]
"""A stack of RGB images of one size, uint8[N, H, W, 3], 0..255."""


@runtime_checkable
class Standardizer(Protocol):
    """Turns images of the source site into the stain and color of the target site.

    Deterministic; the output has the shape and dtype of the input; the input is left untouched.
    """

    def standardize(self, images: UInt8Images) -> UInt8Images:
        """Return uint8[N, H, W, 3] re-stained copies of uint8[N, H, W, 3] RGB images."""
        ...
