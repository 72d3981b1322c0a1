"""Scale of all images of one site: the median of what their files state, or of their red cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.errors import HemabridgeError
from hemabridge.fields.field_scale import Scale
from hemabridge.fields.find_cells import checked_scale
from hemabridge.fields.open_field import open_field
from hemabridge.sampling import evenly_spaced

SAMPLED: Final = 60
"""Number of images that are looked at."""

LEAST_IMAGES: Final = 3
"""Smallest number of images with a scale that state the site's."""

LEAST_SHARE: Final = 0.25
"""Smallest share of such images; where fewer show red cells, what is taken for them may be something else."""


def scale_of_images(paths: Sequence[Path]) -> Scale | None:
    """Return the scale of images of one microscope, camera and objective.

    Args:
        paths: images of cells or fields; up to `SAMPLED` of them, evenly spaced, are read.

    Returns:
        The median with its 95 % interval, and the number of images as `cells`; None if too few images have a scale.
        Scales that nuclei state are not used, since nuclei differ too much.
    """
    sampled = [paths[place] for place in evenly_spaced(len(paths), SAMPLED)]
    scales = [scale for path in sampled if (scale := _scale_of(path)) is not None]
    if len(scales) < max(LEAST_IMAGES, LEAST_SHARE * len(sampled)):
        return None
    logs = np.log([scale.um_per_px for scale in scales])
    middle = float(np.median(logs))
    error = 1.96 * 1.2533 * float(np.std(logs, ddof=1)) / np.sqrt(len(logs))  # of a median: 1.25 times that of a mean
    is_of_files = 2 * sum(scale.source == "file" for scale in scales) > len(scales)
    low, high = float(np.exp(middle - error)), float(np.exp(middle + error))
    return Scale(float(np.exp(middle)), low, high, "file" if is_of_files else "red cells", len(scales))


def _scale_of(path: Path) -> Scale | None:
    try:
        with open_field(path) as field:
            scale = checked_scale(field)[0]
    except (HemabridgeError, OSError, MemoryError):
        return None
    return scale if scale is not None and scale.source in ("file", "red cells") else None
