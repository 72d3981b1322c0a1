"""The diameter of a whole leukocyte, with its cytoplasm, in micrometers."""

import numpy as np

from hemabridge.fields.density import resized
from hemabridge.fields.detect import WORK_UM
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Image


def cell_diameter_um(crop: UInt8Image, um_per_px: float) -> float | None:
    """Return the diameter of the disc with the area of the leukocyte in the middle of a crop; None if none is found.

    Args:
        crop: RGB uint8[H, W, 3], the cell in its middle; no border of a field cuts it.
        um_per_px: micrometers per pixel of it.
    """
    factor = min(1.0, um_per_px / WORK_UM)
    area = np.count_nonzero(segment(resized(crop, factor)).cell)
    return float(2 * np.sqrt(area / np.pi) * um_per_px / factor) if area else None
