"""Shape of synthetic nuclei compared with real ones: distributions of area, share of the cell, and lobes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance
from skimage.morphology import convex_hull_image

from hemabridge.guard.shapes import lobes
from hemabridge.imaging.compartments import WORK_PX, segment
from hemabridge.imaging.masks import Mask
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.metrics.resampling import percentile_interval
from hemabridge.synthesis.pair_results import Estimate, ShapeRow, Spread

Values = NDArray[np.float64]

DRAWS: Final = 500
"""Number of bootstrap resamples of the cells for each interval."""

FEWEST_CELLS: Final = 2
"""Fewest cells with a nucleus for which distributions are compared."""

MEASURES: Final = MappingProxyType(
    {
        "nucleus_area": "area of the nucleus, as a share of the picture",
        "nucleus_share": "nucleus as a share of the cell (N:C ratio, 0 to 1)",
        "lobedness": "share of the nucleus's convex hull that is not nucleus; 0 for a round one",
        "lobes": "number of lobes",
    }
)
"""Every measure of `measure_shapes`, with its description."""


def measure_shapes(images: UInt8Images) -> dict[str, Values]:
    """Measure the nucleus of each square picture uint8[N, S, S, 3]: float64[N] by name in `MEASURES`.

    NaN if no nucleus is found. Pictures smaller than `WORK_PX` are first enlarged to that size, real and synthetic ones
    alike.
    """
    rows = [_measure_one(image) for image in images]
    columns = np.array(rows, np.float64).reshape(len(rows), len(MEASURES)).T
    return dict(zip(MEASURES, columns, strict=True))


def compare_shapes(
    source: Mapping[str, Values],
    synthetic: Mapping[str, Values],
    real: Mapping[str, Values],
    training: Mapping[str, Values],
    *,
    seed: int = 0,
) -> tuple[ShapeRow, ...]:
    """Compare the distributions of each measure; a measure that too few cells have is omitted.

    Args:
        source: measures of the cells that were translated.
        synthetic: of the synthetic cells.
        real: of held-out cells of the intended class.
        training: of training cells of that class, which give the unit of the distances and the floor.
        seed: of the resamples, and of the training cells for the floor.
    """
    rows = []
    for name in MEASURES:
        sets = [values[name][~np.isnan(values[name])] for values in (source, synthetic, real, training)]
        if min(len(values) for values in sets) < FEWEST_CELLS:
            continue
        before, after, held_out, known = sets
        rng = np.random.default_rng(seed)
        unit = max(float(known.std(ddof=1)), 1e-9)
        floor = rng.permutation(known)[: len(after)]
        rows.append(
            ShapeRow(
                measure=name,
                source=spread(before),
                synthetic=spread(after),
                real=spread(held_out),
                untouched=_distance(before, held_out, unit, rng),
                distance=_distance(after, held_out, unit, rng),
                floor=_distance(floor, held_out, unit, rng),
            )
        )
    return tuple(rows)


def spread(values: NDArray[np.floating] | NDArray[np.integer]) -> Spread:
    """Return the quantiles of float[N], N at least 1."""
    p5, p25, median, p75, p95 = (float(value) for value in np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)))
    return Spread(p5, p25, median, p75, p95, len(values))


def _distance(one: Values, other: Values, unit: float, rng: np.random.Generator) -> Estimate:
    """Return the 1-Wasserstein distance (Vallender 1974, doi:10.1137/1118101) in `unit`, with bootstrap interval."""
    drawn = np.array([wasserstein_distance(_drawn(one, rng), _drawn(other, rng)) for _ in range(DRAWS)])
    return Estimate(float(wasserstein_distance(one, other)) / unit, percentile_interval(drawn / unit))


def _drawn(values: Values, rng: np.random.Generator) -> Values:
    return values[rng.integers(len(values), size=len(values))]


def _measure_one(image: UInt8Image) -> tuple[float, ...]:
    found = segment(resize_square(image, max(WORK_PX, image.shape[0])))
    nucleus = np.count_nonzero(found.nucleus)
    if not nucleus:
        return (np.nan,) * len(MEASURES)
    share = nucleus / np.count_nonzero(found.cell)
    return nucleus / found.nucleus.size, share, _hull_deficit(found.nucleus), float(lobes(found.nucleus))


def _hull_deficit(nucleus: Mask) -> float:
    """Return 1 - solidity: the share of the convex hull that does not belong to the mask."""
    hull = np.count_nonzero(convex_hull_image(nucleus))  # type: ignore[no-untyped-call]
    return max(0.0, 1.0 - np.count_nonzero(nucleus) / hull)
