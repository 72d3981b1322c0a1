"""Subdomains of a site: groups of images, such as batches of smears, whose empty fields differ clearly in color."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.domain.cell_descriptor import clusters_of
from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Images

FEWEST_IMAGES: Final = 30
"""Smallest number of images of a subdomain on which a normalizer is fitted."""

LEAST_APART: Final = 20.0
"""Smallest Euclidean distance in CIE Lab between the mean fields of two subdomains, such as white and pale yellow."""

LEAST_SILHOUETTE: Final = 0.75
"""Smallest mean silhouette of each subdomain. That of the halves of a uniform distribution of colors is 0.71."""


def fields_of(images: UInt8Images) -> NDArray[np.float64]:
    """Return the color of each image's empty field in CIE Lab, float64[N, 3], of uint8[N, H, W, 3]."""
    found = np.array([background_color(image) for image in images], np.float64).reshape(-1, 1, 3)
    return rgb_to_lab(found.round().astype(np.uint8))[:, 0].astype(np.float64)


def subdomains_of(fields: NDArray[np.float64], most: int, fewest: int) -> NDArray[np.intp]:
    """Cluster images into clearly separate subdomains; return the subdomain of each, intp[N], 0 .. `most` - 1.

    The clusters are those of k-means in CIE Lab. Images of a cluster of fewer than `fewest` go to the nearest
    subdomain. The number of subdomains is the largest one at which they are separate: by `LEAST_APART`, and by a mean
    simplified silhouette of at least `LEAST_SILHOUETTE` (from the distances to the own center and to the nearest other
    one; Hruschka, de Castro & Campello 2004, doi:10.1109/ICDM.2004.10073).

    Args:
        fields: colors in CIE Lab, float64[N, 3], N at least 1.
        most: largest number of subdomains, at least 1.
        fewest: smallest number of images in each.
    """
    best, found = (1, len(fields)), np.zeros(len(fields), np.intp)
    for count in range(2, 2 * most + 1):  # more, since small clusters are not subdomains
        clusters = [rows for rows in clusters_of(fields, count) if len(rows) >= fewest]
        centers = np.array([fields[rows].mean(axis=0) for rows in clusters])
        held = (len(clusters), sum(map(len, clusters)))
        if best < held and len(clusters) <= most and _clearly_apart(fields, centers):
            best, found = held, nearest_field(fields, centers)
    return found


def name_of(fields: NDArray[np.float64]) -> str:
    """Return the mean of colors in CIE Lab, float64[N, 3], as #rrggbb."""
    return "#" + "".join(f"{level:02x}" for level in lab_to_rgb(fields.mean(axis=0)).tolist())


def nearest_field(fields: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of the nearest center, float64[K, 3], for each field, float64[N, 3]: intp[N]."""
    return np.asarray(_distances(fields, centers).argmin(axis=1), np.intp)


def _clearly_apart(fields: NDArray[np.float64], centers: NDArray[np.float64]) -> bool:
    between = _distances(centers, centers)
    if between[~np.eye(len(centers), dtype=bool)].min() < LEAST_APART:
        return False
    distances = np.sort(_distances(fields, centers), axis=1)
    silhouettes = 1 - distances[:, 0] / np.maximum(distances[:, 1], 1e-9)
    nearest = nearest_field(fields, centers)
    return all(silhouettes[nearest == subdomain].mean() >= LEAST_SILHOUETTE for subdomain in range(len(centers)))


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.linalg.norm(a[:, None] - b, axis=2)
    return found
