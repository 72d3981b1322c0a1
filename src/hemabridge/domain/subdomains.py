"""Subdomains of a site: batches of smears, or lamps, whose empty fields differ clearly in color."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.compartments import background_color
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.clusters import clusters_of

FEWEST_IMAGES: Final = 30
"""On fewer images of a subdomain nothing is fitted."""

LEAST_APART: Final = 20.0
"""Euclidean distance in CIE Lab between the mean fields of two subdomains: about white against pale yellow glass."""

LEAST_SILHOUETTE: Final = 0.75
"""In the mean over each subdomain's images. In halves of an even spread of colors it is 0.71."""


def fields_of(images: UInt8Images) -> NDArray[np.float64]:
    """Return the color of each image's empty field in CIE Lab, float64[N, 3], of uint8[N, H, W, 3]."""
    found = np.array([background_color(image) for image in images], np.float64).reshape(-1, 1, 3)
    return rgb_to_lab(found.round().astype(np.uint8))[:, 0].astype(np.float64)


def subdomains_of(fields: NDArray[np.float64], most: int, fewest: int) -> NDArray[np.intp]:
    """Cluster images into clearly separate subdomains; return the number of each image's, intp[N], 0 .. `most` - 1.

    k-means in CIE Lab. A cluster of fewer than `fewest` images is no subdomain: these go to the nearest one. There are
    as many subdomains as are separable: by `LEAST_APART`, and by a mean simplified silhouette (distance to the own
    center and to the nearest other one; Hruschka, de Castro & Campello 2004, doi:10.1109/ICDM.2004.10073) of
    `LEAST_SILHOUETTE`.

    Args:
        fields: colors in CIE Lab, float64[N, 3], N at least 1.
        most: subdomains, at least 1.
        fewest: images in each.
    """
    best, found = (1, len(fields)), np.zeros(len(fields), np.intp)
    for count in range(2, 2 * most + 1):  # room for clusters that are no subdomains
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
    """Return for each of float64[N, 3] which of float64[K, 3] is nearest, intp[N]."""
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
