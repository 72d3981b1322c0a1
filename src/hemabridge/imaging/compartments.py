"""Compartments of a leukocyte image: nucleus, cytoplasm, red cells, background."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from hemabridge.imaging.standardizer import UInt8Image

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Compartments:
    """Disjoint masks bool[H, W] of one image."""

    nucleus: Mask
    cytoplasm: Mask
    red_cells: Mask
    background: Mask

    @property
    def cell(self) -> Mask:
        """The central leukocyte: nucleus and cytoplasm."""
        return self.nucleus | self.cytoplasm


def segment(image: UInt8Image) -> Compartments:
    """Segment an MGG or Giemsa image centred on a leukocyte."""
    green = image[..., 1].astype(np.float32)
    empty = np.zeros(green.shape, bool)
    if float(np.ptp(green)) < 16:
        return Compartments(empty, empty.copy(), empty.copy(), ~empty)
    nucleus = green < threshold_otsu(green)  # type: ignore[no-untyped-call]
    return Compartments(nucleus, empty, empty.copy(), ~nucleus)
