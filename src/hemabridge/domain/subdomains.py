"""The looks that a site holds: batches of smears, or lamps, whose empty fields differ in colour at a glance."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.clusters import clusters_of

FEWEST_IMAGES: Final = 30
"""On fewer images of a look nothing is fitted."""

LEAST_APART: Final = 20.0
"""Euclidean distance in CIE Lab between the mean fields of two looks: about that of white and pale yellow glass."""

LEAST_SILHOUETTE: Final = 0.75
"""In the mean over each look's images. In halves of an even spread of colours it is 0.71."""


def fields_of(images: UInt8Images) -> NDArray[np.float64]:
    """Return the colour of each image's empty field in CIE Lab, float64[N, 3], of uint8[N, H, W, 3]."""
    found = np.array([background_color(image) for image in images], np.float64).reshape(-1, 1, 3)
    return rgb_to_lab(found.round().astype(np.uint8))[:, 0].astype(np.float64)


def looks_of(fields: NDArray[np.float64], most: int, fewest: int) -> NDArray[np.intp]:
    """Part images into looks that are clearly apart; return each one's look, intp[N], 0 .. at most `most` - 1.

    k-means in CIE Lab. A cluster of fewer than `fewest` images is no look: these go to the nearest one. There are as
    many looks as can be told apart: by `LEAST_APART`, and by a mean simplified silhouette (distance to the own centre
    and to the nearest other one; Hruschka, de Castro & Campello 2004, doi:10.1109/ICDM.2004.10073) of
    `LEAST_SILHOUETTE`.

    Args:
        fields: colours in CIE Lab, float64[N, 3], N at least 1.
        most: looks, at least 1.
        fewest: images in each.
    """
    best, found = (1, len(fields)), np.zeros(len(fields), np.intp)
    for count in range(2, 2 * most + 1):  # room for clusters that are no looks
        clusters = [rows for rows in clusters_of(fields, count) if len(rows) >= fewest]
        centres = np.array([fields[rows].mean(axis=0) for rows in clusters])
        held = (len(clusters), sum(map(len, clusters)))
        if best < held and len(clusters) <= most and _clearly_apart(fields, centres):
            best, found = held, nearest_field(fields, centres)
    return found


def name_of(fields: NDArray[np.float64]) -> str:
    """Return the mean of colours in CIE Lab, float64[N, 3], as #rrggbb."""
    return "#" + "".join(f"{level:02x}" for level in lab_to_rgb(fields.mean(axis=0)).tolist())


def nearest_field(fields: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each of float64[N, 3] which of float64[K, 3] is nearest, intp[N]."""
    return np.asarray(_distances(fields, centres).argmin(axis=1), np.intp)


def _clearly_apart(fields: NDArray[np.float64], centres: NDArray[np.float64]) -> bool:
    between = _distances(centres, centres)
    if between[~np.eye(len(centres), dtype=bool)].min() < LEAST_APART:
        return False
    distances = np.sort(_distances(fields, centres), axis=1)
    silhouettes = 1 - distances[:, 0] / np.maximum(distances[:, 1], 1e-9)
    nearest = nearest_field(fields, centres)
    return all(silhouettes[nearest == look].mean() >= LEAST_SILHOUETTE for look in range(len(centres)))


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.linalg.norm(a[:, None] - b, axis=2)
    return found
