"""Quality of a field: how much of it cells cover, about how many red cells it has, and how sharp it is."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.fields.density import Absorbed, absorbed_light
from hemabridge.fields.field_image import FieldPixels
from hemabridge.fields.red_cells import RED_CELL_UM
from hemabridge.fields.view import View
from hemabridge.imaging.compartments import background_color

Fault: TypeAlias = Literal["empty", "blurred", "crowded"]
"""Why a field is not fit for a differential count."""

FINE_UM: Final = 0.15
"""Side of a pixel in micrometers at which sharpness is measured; a coarser image is not enlarged."""

PART_PX: Final = 512
"""Side of the parts in which quality is measured, up to nine, in pixels of `FINE_UM`."""

LEAST_COVERED: Final = 0.01
"""Smallest share of the area of a field with cells: about one red cell in a field of 640 x 480 pixels has 0.015."""

MOST_COVERED: Final = 0.85
"""Largest share of the area at which red cells still lie side by side; the fields of BCCD have 0.38 to 0.63."""

MOST_EDGE_UM: Final = 1.3
"""Largest width of the edge of a cell. The fields of BCCD have 0.5 to 1.0; blurred by 1 um they have 1.5."""

_SMOOTH_UM: Final = 0.15  # of the noise of a camera, before the slope of an edge is measured
_STEEPEST: Final = 0.99  # quantile of the slopes that stands for the edges


@dataclass(frozen=True)
class Quality:
    """Measures of a field.

    Attributes:
        covered: share of the area that cells cover, 0..1.
        red_cells: about how many red cells that would be, without the area of leukocytes.
        edge_um: width of the edges of cells in micrometers, which grows with blur; None without cells.
    """

    covered: float
    red_cells: int
    edge_um: float | None

    @property
    def fault(self) -> Fault | None:
        """Return why the field is not fit for a count; None if it is."""
        if self.edge_um is None or self.covered < LEAST_COVERED:
            return "empty"
        if self.covered > MOST_COVERED:
            return "crowded"
        return "blurred" if self.edge_um > MOST_EDGE_UM else None

    @property
    def reason(self) -> str:
        """Return the sentence about `fault`; empty if there is none."""
        if self.fault == "empty":
            return f"cells cover {self.covered:.1%} of the field, which is less than {LEAST_COVERED:.0%}"
        if self.fault == "crowded":
            return f"cells cover {self.covered:.0%} of the field, which is more than {MOST_COVERED:.0%}: too thick"
        if self.fault == "blurred":
            return f"the edges of cells are {self.edge_um:.1f} um wide, which is more than {MOST_EDGE_UM} um: not sharp"
        return ""


def measure_quality(image: FieldPixels, um_per_px: float, leukocytes_um2: float = 0.0) -> Quality:
    """Measure the quality of a field, on up to nine parts of a large one.

    The width of an edge is the optical density of the red cells, divided by the steepest slopes towards the glass; of
    an edge blurred by a Gaussian of standard deviation s it is 2.5 s.

    Args:
        image: RGB uint8[H, W, 3], or a file of which parts are read.
        um_per_px: micrometers per pixel of it.
        leukocytes_um2: area of the leukocytes in the whole field, in square micrometers.
    """
    view = View.at(image, um_per_px, FINE_UM)
    parts = [view.part(box) for box in view.sample(PART_PX)]
    glass = background_color(np.concatenate([part.reshape(1, -1, 3) for part in parts], axis=1))
    covers, edges = zip(*(_measured(absorbed_light(part, glass), view.um) for part in parts), strict=True)
    seen = np.array([part.shape[0] * part.shape[1] for part in parts])
    covered = float(np.average(covers, weights=seen))
    area = image.shape[0] * image.shape[1] * um_per_px**2
    red_cells = max(0.0, covered * area - leukocytes_um2) / (np.pi / 4 * RED_CELL_UM**2)
    sharp = [edge for edge in edges if edge is not None]
    return Quality(covered, round(red_cells), float(np.median(sharp)) if sharp else None)


def _measured(picture: Absorbed, um: float) -> tuple[float, float | None]:
    """Return the share of the foreground, and the width of its edges in micrometers."""
    green, inside = picture.green, picture.foreground
    if not inside.any():
        return 0.0, None
    red = float(np.median(green[inside]))
    smooth = ndimage.gaussian_filter(np.minimum(green, red), _SMOOTH_UM / um)
    slope: NDArray[np.float32] = np.hypot(*np.gradient(smooth)) / um
    steepest = float(np.quantile(slope, _STEEPEST))
    return float(inside.mean()), red / steepest if steepest > 0 else None
