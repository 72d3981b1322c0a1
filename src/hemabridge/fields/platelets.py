"""Platelets, their clumps, smudge cells and stain debris: what the nuclear dyes stain besides nuclei.

The light that a pixel absorbs is split into that of red cells and that of the nuclear dyes, by the colors of both in
the same field (Ruifrok and Johnston 2001, Anal. Quant. Cytol. Histol. 23(4):291-299). Sizes are in micrometers.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.fields.density import Absorbed, FloatMap, Mask

Kind: TypeAlias = Literal["platelet", "clump", "smudge", "debris"]
"""A stained object that is no leukocyte: `clump` of platelets, `smudge` a burst nucleus, `debris` a grain of stain."""

LEAST_DYE: Final = 0.15
"""Amount of nuclear dye from which a pixel belongs to an object, 1 as in a nucleus."""

LEAST_PEAK: Final = 0.2
"""Smallest amount at the densest pixel of a platelet on glass."""

LEAST_PEAK_ON_RED: Final = 0.5
"""The same on a red cell, whose uneven hemoglobin and refractile spots pass for some dye."""

LEAST_PLATELET_UM2: Final = 1.2
"""Smallest area of a platelet: platelets are 1.5 to 3 um wide (Bain 2015, chapter 3), and blur hides their edge."""

MOST_PLATELET_UM2: Final = 14.0
"""Largest area of one platelet, that of a disc 4.2 um wide; a larger object is a clump or a smudge."""

LONGEST: Final = 2.5
"""Largest ratio of the disc around a platelet to its area; edges of red cells are longer."""

LEAST_SMUDGE_UM2: Final = 64.0
"""Smallest area of a smudge, that of a disc 9 um wide, wider than an unburst nucleus of the same mass."""

LEAST_SMUDGE_UM: Final = 3.5
"""Smallest diameter of the largest disc in a smudge; a clump is made of platelets with gaps between them."""

MOST_SMUDGE_UM: Final = 26.0
"""Largest extent of a smudge."""

NEAR_UM: Final = 3.0
"""Largest distance from a nucleus at which an object is part of that cell: granules, and the edge of cytoplasm."""

LEAST_ANGLE: Final = 0.08
"""Smallest sine of the angle between the two colors at which light can be split between them."""

NUCLEAR_COLOR: Final = (0.45, 0.87, 0.15)
"""Color of nuclei for a field without one: the median direction of optical densities over BCCD and Raabin-WBC."""

NUCLEAR_RATIO: Final = 4.0
"""The same for their optical density in green, as a multiple of that of the field's red cells."""

_RING_UM: Final = 0.75


@dataclass(frozen=True)
class SmallObject:
    """A stained object that is no leukocyte: its kind, and its center in pixels of the part."""

    kind: Kind
    row: float
    column: float


def dye_weights(red: FloatMap, nuclear: FloatMap | None) -> FloatMap | None:
    """Return the weights of the optical densities for the amounts of red cell and of nuclear dye, float32[2, 3].

    Args:
        red: median optical densities of the red cells, float32[3].
        nuclear: the same of chromatin; None in a field without a nucleus.

    Returns:
        Weights that give 1 for each color itself and 0 for the other; None if the colors are too much alike.
    """
    if red[1] <= 0:
        return None
    generic = np.array(NUCLEAR_COLOR) / NUCLEAR_COLOR[1] * NUCLEAR_RATIO * red[1]
    colors = np.stack([red, generic if nuclear is None else nuclear]).astype(np.float64)
    units = colors / np.linalg.norm(colors, axis=1, keepdims=True)
    if 1 - float(units[0] @ units[1]) ** 2 < LEAST_ANGLE**2:
        return None
    return np.asarray(np.linalg.pinv(colors.T), dtype=np.float32)


def small_objects(picture: Absorbed, weights: FloatMap, nuclei: Mask, um: float) -> list[SmallObject]:
    """Find the stained objects of a part of a field that are no leukocytes.

    Args:
        picture: optical densities of the part, each float32[H, W].
        weights: of `dye_weights`.
        nuclei: where the nuclei of leukocytes are, bool[H, W].
        um: side of a pixel in micrometers.
    """
    smooth = np.stack([ndimage.gaussian_filter(plane, 0.3 / um) for plane in picture.planes])
    red, dye = np.tensordot(weights, smooth, axes=1)
    mask = dye > LEAST_DYE
    labels, count = ndimage.label(mask)
    if count == 0:
        return []
    near = ndimage.distance_transform_edt(~nuclei) * um <= NEAR_UM if nuclei.any() else nuclei
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    of_cell = np.bincount(labels[near], minlength=count + 1) > sizes / 2
    numbers = np.flatnonzero((sizes * um**2 >= LEAST_PLATELET_UM2 / 2) & ~of_cell)
    numbers = numbers[numbers > 0]
    if len(numbers) == 0:
        return []
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    on_red = _ring_means(red, labels, um)
    boxes = ndimage.find_objects(labels)
    found = []
    for number in numbers.tolist():
        rows, columns = where = boxes[number - 1]
        own = labels[where] == number
        extent = max(rows.stop - rows.start, columns.stop - columns.start) * um
        thickness = 2 * um * float(depth[where][own].max())
        kind = _kind(sizes[number] * um**2, extent, thickness, float(dye[where][own].max()), on_red[number])
        if kind is not None:
            found.append(SmallObject(kind, (rows.start + rows.stop) / 2, (columns.start + columns.stop) / 2))
    return found


def _ring_means(values: FloatMap, labels: NDArray[np.int32], um: float) -> NDArray[np.float64]:
    """Return the mean of `values` in a ring around each label, float64[N + 1]; 0 without one."""
    reach = max(1, round(_RING_UM / um))
    wide = ndimage.maximum_filter(labels, 2 * reach + 1)
    wide[labels > 0] = 0
    count = int(labels.max()) + 1
    pixels = np.bincount(wide.ravel(), minlength=count)
    return np.asarray(np.bincount(wide.ravel(), values.ravel(), minlength=count) / np.maximum(1, pixels))


def _kind(area: float, extent: float, thickness: float, peak: float, on_red: float) -> Kind | None:
    """Return what an object is, by its measures; None for what is no stained object."""
    if peak < LEAST_PEAK + (LEAST_PEAK_ON_RED - LEAST_PEAK) * min(1.0, max(0.0, on_red)):
        return None
    if area > MOST_PLATELET_UM2:
        is_smudge = area >= LEAST_SMUDGE_UM2 and thickness >= LEAST_SMUDGE_UM and extent <= MOST_SMUDGE_UM
        return "smudge" if is_smudge else "clump"
    if np.pi / 4 * extent**2 > LONGEST * area:
        return None
    return "platelet" if area >= LEAST_PLATELET_UM2 else "debris"
