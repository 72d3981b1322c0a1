"""Circles in a picture of absorbed light: each edge votes for the centers that it could belong to.

A red cell is found by its outer edge even where it overlaps others, is cut by the border of the field, or has a pale
center: an edge votes only in the direction in which the picture becomes darker.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.fields.density import FloatMap

Floats = NDArray[np.float64]

RADII_PX: Final = (8.0, 60.0)
"""Smallest and largest radius that is looked for, in pixels."""

STEP: Final = 1.12
"""Ratio of successive radii."""

LEAST_COVERAGE: Final = 0.5
"""Smallest number of votes for a circle, as a share of its circumference in pixels."""

LEAST_SECTORS: Final = 0.6
"""Smallest share of 16 sectors of a circle in which an edge was found."""

_EDGE_SHARE: Final = 0.3  # of the strongest gradients
_LEAST_EDGE: Final = 0.005  # optical density per pixel: a pale red cell has 0.02, the noise of a camera 0.002
_SECTORS: Final = 16


@dataclass(frozen=True)
class Circle:
    """A circle with its center (`x`, `y`), its `radius` and its `coverage` by edges, all but the last in pixels."""

    x: float
    y: float
    radius: float
    coverage: float


@dataclass(frozen=True)
class _Edges:
    """Thin edges: positions, and unit vectors towards the darker side, each float64[E]."""

    x: Floats
    y: Floats
    toward_x: Floats
    toward_y: Floats


def find_circles(density: FloatMap) -> list[Circle]:
    """Find dark discs by a Hough transform that uses the direction of the edges.

    Kimme, Ballard and Sklansky 1975 (doi:10.1145/360666.360677): an edge votes, for each radius, for one center. Votes
    within a quarter of the radius count together, since red cells are not exactly round. Of circles that overlap by
    their centers the best covered is kept; its radius is the median distance of its own edges.

    Args:
        density: optical density float32[H, W].

    Returns:
        Circles with radii of about `RADII_PX`, best covered first.
    """
    edges = _thin_edges(density)
    proposed = sorted(_proposed(edges, density.shape), key=lambda circle: -circle.coverage)
    kept: list[Circle] = []
    for one in proposed:
        if all(_distance(one, other) > 0.7 * max(one.radius, other.radius) for other in kept):
            kept.append(one)
    refined = (_refined(circle, edges) for circle in kept)
    return [circle for circle in refined if circle is not None]


def _thin_edges(density: FloatMap) -> _Edges:
    """Return the pixels where the gradient is strong and largest in its own direction (Canny 1986)."""
    smooth = ndimage.gaussian_filter(density, 1.0)
    down, right = np.gradient(smooth)
    size = np.hypot(down, right)
    strong = size > max(_LEAST_EDGE, _EDGE_SHARE * float(np.quantile(size[::2, ::2], 0.97)))
    strong[:2] = strong[-2:] = False
    strong[:, :2] = strong[:, -2:] = False
    y, x = np.divmod(np.flatnonzero(strong), strong.shape[1])  # np.nonzero is several times slower
    own = size[y, x]
    toward_y, toward_x = down[y, x] / own, right[y, x] / own
    step_y, step_x = np.rint(toward_y).astype(int), np.rint(toward_x).astype(int)
    top = (own >= size[y + step_y, x + step_x]) & (own >= size[y - step_y, x - step_x])
    return _Edges(*(values[top].astype(np.float64) for values in (x, y, toward_x, toward_y)))


def _proposed(edges: _Edges, shape: tuple[int, ...]) -> list[Circle]:
    """Return the local maxima of the votes for each radius, in cells of a sixth of the radius."""
    found = []
    for radius in np.geomspace(*RADII_PX, 1 + round(np.log(RADII_PX[1] / RADII_PX[0]) / np.log(STEP))):
        cell = max(1.0, radius / 6)
        rows, columns = int(shape[0] / cell) + 1, int(shape[1] / cell) + 1
        row = np.floor((edges.y + radius * edges.toward_y) / cell).astype(int)
        column = np.floor((edges.x + radius * edges.toward_x) / cell).astype(int)
        inside = (row >= 0) & (column >= 0) & (row < rows) & (column < columns)
        framed = (row[inside] + 1) * (columns + 2) + column[inside] + 1  # empty cells all around
        counts = np.bincount(framed, minlength=(rows + 2) * (columns + 2)).reshape(rows + 2, columns + 2)
        if _most_of_nine(counts) < 0.99 * LEAST_COVERAGE * 2 * np.pi * radius:  # no nine cells have votes enough
            continue
        votes = counts[1:-1, 1:-1].astype(float)
        votes = ndimage.uniform_filter(votes, 3, mode="constant") * 9 / (2 * np.pi * radius)
        found += [
            Circle((b + 0.5) * cell, (a + 0.5) * cell, float(radius), float(votes[a, b]))
            for a, b in np.argwhere(votes > LEAST_COVERAGE)
            if votes[a, b] >= votes[max(0, a - 2) : a + 3, max(0, b - 2) : b + 3].max()
        ]
    return found


def _most_of_nine(counts: NDArray[np.intp]) -> int:
    """Return the largest sum of 3 x 3 cells."""
    cells = counts.astype(np.int32)
    three = cells[:-2] + cells[1:-1] + cells[2:]
    return int((three[:, :-2] + three[:, 1:-1] + three[:, 2:]).max())


def _refined(circle: Circle, edges: _Edges) -> Circle | None:
    """Move a circle to the edges that point to its center; None if they lie on one side of it only."""
    x, y, radius = circle.x, circle.y, circle.radius
    for _ in range(2):
        across, down = x - edges.x, y - edges.y
        far = np.hypot(across, down) + 1e-9
        points = (across * edges.toward_x + down * edges.toward_y) / far > 0.9
        own = points & (far > 0.7 * radius) & (far < 1.35 * radius)
        if np.count_nonzero(own) < 5:
            return None
        x = float(np.mean(edges.x[own] + far[own] * edges.toward_x[own]))
        y = float(np.mean(edges.y[own] + far[own] * edges.toward_y[own]))
        radius = float(np.median(far[own]))
    turns = np.arctan2(edges.y[own] - y, edges.x[own] - x) / (2 * np.pi) + 0.5
    sectors = len(np.unique(np.floor(turns * _SECTORS).astype(int) % _SECTORS)) / _SECTORS
    return Circle(x, y, radius, circle.coverage) if sectors >= LEAST_SECTORS else None


def _distance(one: Circle, other: Circle) -> float:
    return float(np.hypot(one.x - other.x, one.y - other.y))
