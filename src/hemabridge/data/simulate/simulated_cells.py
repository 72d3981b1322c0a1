"""Simulated cells: the same cell with the stain and camera of each hospital."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.simulate.camera import digitize, expose, record
from hemabridge.data.simulate.canvas import Canvas
from hemabridge.data.simulate.hospitals import Hospital
from hemabridge.data.simulate.leukocytes import KINDS
from hemabridge.data.simulate.stain import Structure, transmittance
from hemabridge.data.simulate.surroundings import paint_platelets, paint_red_cells, place_red_cells
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.imaging.threads import ONE_BLAS_THREAD

CLASSES: Final = tuple(KINDS)
"""Every class that can be simulated."""

MIN_SIZE_PX: Final = 16
MAX_SIZE_PX: Final = 1024
_OVERSAMPLING = 2
STAIN_SPREAD = 0.08


@dataclass(frozen=True)
class Cell:
    """One cell. Three values determine it completely, so that it is the same in every hospital.

    Attributes:
        class_name: one of `CLASSES`.
        seed: the seed of the whole set.
        index: its number within its class.

    Raises:
        InputError: the class does not exist.
    """

    class_name: str
    seed: int
    index: int

    def __post_init__(self) -> None:
        if self.class_name not in KINDS:
            raise InputError(f"expected one of the classes {', '.join(CLASSES)}; got {self.class_name!r}")

    @property
    def cell_id(self) -> str:
        """Name of the cell, the same in every hospital, such as `blast-7-00012`."""
        return f"{self.class_name}-{self.seed}-{self.index:05d}"

    def thickness(self, canvas: Canvas) -> NDArray[np.float32]:
        """Return the thickness of each structure, float32[structures, P, P]: the cell before it is stained."""
        rng = np.random.default_rng((self.seed, zlib.crc32(self.class_name.encode()), self.index))
        kind = KINDS[self.class_name]
        radius = float(np.clip(rng.normal(kind.radius_um, kind.spread_um), 0.8 * kind.radius_um, 1.2 * kind.radius_um))
        red_cells = place_red_cells(rng, radius * 0.95, rng.uniform(0.4, 1.0))
        leukocyte = kind.paint(canvas, rng, radius, red_cells)
        maps = np.zeros((len(Structure), canvas.size_px, canvas.size_px), dtype=np.float32)
        for structure, layer in leukocyte.layers.items():
            maps[structure] = np.clip(layer, 0.0, None) * math.exp(rng.normal(0.0, STAIN_SPREAD))
        uncovered = np.float32(1.0) - leukocyte.coverage
        maps[Structure.RED_CELL] = paint_red_cells(canvas, rng, red_cells) * uncovered
        maps[Structure.AZUROPHIL] += paint_platelets(canvas, rng, red_cells, radius) * uncovered
        return maps


@ONE_BLAS_THREAD
def render(cell: Cell, hospital: Hospital, size_px: int, *, noise: bool = True) -> UInt8Image:
    """Return the picture of a cell in a hospital, uint8[size_px, size_px, 3], RGB.

    Args:
        cell: the cell.
        hospital: its stain and camera.
        size_px: side of the picture; the field of view is always `FIELD_UM` µm.
        noise: sensor noise and JPEG. Without, the picture of a cell under the target hospital is the exact ground
            truth for re-staining the same cell of any other hospital.

    Raises:
        InputError: `size_px` is out of range.
    """
    if not MIN_SIZE_PX <= size_px <= MAX_SIZE_PX:
        raise InputError(f"expected a size of {MIN_SIZE_PX} to {MAX_SIZE_PX} pixels, got {size_px}")
    maps = cell.thickness(Canvas(size_px * _OVERSAMPLING))
    picture = expose(transmittance(maps, hospital.bath), hospital.camera, size_px)
    if not noise:
        return digitize(picture)
    own = zlib.crc32(f"{hospital.name}/{cell.cell_id}".encode())
    return record(picture, hospital.camera, np.random.default_rng(own))


def list_cells(classes: Sequence[str], n_per_class: int, seed: int) -> list[Cell]:
    """Return the cells of a set, class by class.

    Raises:
        InputError: no class, an unknown or repeated class, fewer than one cell, or a negative seed.
    """
    if not classes or len(set(classes)) != len(classes):
        raise InputError(f"expected different classes of {', '.join(CLASSES)}; got {list(classes)}")
    if n_per_class < 1 or seed < 0:
        raise InputError(f"expected n_per_class >= 1 and seed >= 0, got {n_per_class} and {seed}")
    return [Cell(name, seed, index) for name in classes for index in range(n_per_class)]


def simulate_cells(
    classes: Sequence[str], n_per_class: int, hospital: Hospital, seed: int, size_px: int, *, noise: bool = True
) -> tuple[UInt8Images, NDArray[np.int64]]:
    """Return pictures, uint8[N, size_px, size_px, 3], and labels, int64[N], the position in `classes`.

    The same `classes`, `n_per_class` and `seed` give the same cells in the same order in every hospital.

    Raises:
        InputError: as `list_cells` and `render` do.
    """
    cells = list_cells(classes, n_per_class, seed)
    images = np.stack([render(cell, hospital, size_px, noise=noise) for cell in cells])
    return images, np.repeat(np.arange(len(classes), dtype=np.int64), n_per_class)
