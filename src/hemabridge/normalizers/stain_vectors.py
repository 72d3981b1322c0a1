"""The stain vectors of two dyes in optical density, by the methods of Macenko and of Vahadane."""

import numpy as np
from numpy.typing import NDArray

from hemabridge.normalizers.levels import STAINED_OD

LEAST_PIXELS = 50
"""Fewest stained pixels from which two dyes can be separated."""

LEAST_ANGLE_DEG = 8.0
"""Smallest angle between two dyes; directions closer to each other are one dye and noise."""

SPARSITY = 0.1 / np.log(10)
"""Vahadane's penalty on the amounts of dye: lambda is 0.1 for natural logarithms in the paper; these are decadic."""

_ROUNDS = 60
_ANGLE_PERCENTILES = (1.0, 99.0)

StainVectors = NDArray[np.float64]
"""float64[2, 3]: unit directions in optical density (red, green, blue), azure first, then eosin."""


def stained(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pixels [P', 3] of [P, 3] that absorb in at least one channel.

    Macenko's criterion, absorption in every channel, would exclude red cells and eosin, which hardly absorb red.
    """
    return density[(density > STAINED_OD).any(axis=1)]


def macenko_vectors(density: NDArray[np.float64]) -> StainVectors | None:
    """Find the two dyes as the extreme directions in the plane of the densities.

    Macenko et al. (2009), ISBI, section 2.2, doi:10.1109/ISBI.2009.5193250: project the densities to the plane of the
    two largest eigenvectors of their covariance; the dyes are the 1st and 99th percentile of the angle.

    Args:
        density: optical densities of stained pixels, float64[P, 3].

    Returns:
        The vectors in the order of `by_dye`; None if the pixels do not show two dyes.
    """
    if len(density) < LEAST_PIXELS:
        return None
    _, eigenvectors = np.linalg.eigh(np.cov(density, rowvar=False))
    plane = eigenvectors[:, :0:-1]  # [3, 2], the largest first
    # The angle must not jump from 180 to -180 degrees inside the data.
    plane = plane * np.where((density.mean(axis=0) @ plane) < 0, -1.0, 1.0)
    along = density @ plane
    angles = np.percentile(np.arctan2(along[:, 1], along[:, 0]), _ANGLE_PERCENTILES)
    return by_dye(np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T)


def vahadane_vectors(density: NDArray[np.float64]) -> StainVectors | None:
    """Find the two dyes as a sparse non-negative dictionary of the densities.

    Vahadane et al. (2016), IEEE TMI 35(8), eq. 4, doi:10.1109/TMI.2016.2529665: the minimum over V, H >= 0 of
    |D - H V|^2 / 2 + lambda |H|_1 with rows of V of length at most 1. The solver alternates coordinate descent on the
    amounts H and block coordinate descent on V (Mairal et al. 2010, JMLR 11, algorithm 2). It starts from Macenko's
    vectors and is deterministic.

    Args:
        density: optical densities of stained pixels, float64[P, 3].

    Returns:
        The vectors in the order of `by_dye`; None where the pixels do not show two dyes.
    """
    vectors = macenko_vectors(density)
    if vectors is None:
        return None
    amounts = np.zeros((len(density), 2))
    for _ in range(_ROUNDS):
        amounts = _sparse_amounts(density, vectors, amounts)
        vectors = _better_vectors(density, vectors, amounts)
    return by_dye(vectors)


def by_dye(vectors: NDArray[np.float64]) -> StainVectors | None:
    """Return non-negative unit vectors [2, 3], azure first; None if they are not two different directions.

    Azure B has its absorption maximum near 650 nm and absorbs red light. Eosin Y has its maximum near 520 nm and hardly
    absorbs red; nor does hemoglobin. Azure is therefore the vector with the larger share of red in its absorption. No
    reference colors of hematoxylin and eosin are used.
    """
    positive = np.clip(vectors, 0, None)
    lengths = np.linalg.norm(positive, axis=1, keepdims=True)
    if (lengths < 1e-6).any():
        return None
    unit: StainVectors = positive / lengths
    if np.degrees(np.arccos(np.clip(unit[0] @ unit[1], -1, 1))) < LEAST_ANGLE_DEG:
        return None
    share = unit[:, 0] / unit.sum(axis=1)
    return unit if share[0] >= share[1] else unit[::-1]


def completed(vectors: StainVectors) -> NDArray[np.float64]:
    """Return the directions of both dyes and the unit vector perpendicular to them, float64[3, 3]."""
    across = np.cross(vectors[0], vectors[1])
    return np.vstack([vectors, across / np.linalg.norm(across)])


def inverse_of(vectors: StainVectors) -> NDArray[np.float64]:
    """Return the matrix [3, 3] from optical densities [..., 3] to amounts of azure, eosin and the residual."""
    return np.asarray(np.linalg.inv(completed(vectors)), np.float64)


def _sparse_amounts(
    density: NDArray[np.float64], vectors: StainVectors, amounts: NDArray[np.float64]
) -> NDArray[np.float64]:
    gram, fit = vectors @ vectors.T, density @ vectors.T - SPARSITY
    first, second = amounts.T
    for _ in range(5):
        first = np.maximum(0, (fit[:, 0] - gram[0, 1] * second) / max(gram[0, 0], 1e-9))
        second = np.maximum(0, (fit[:, 1] - gram[0, 1] * first) / max(gram[1, 1], 1e-9))
    return np.stack([first, second], axis=1)


def _better_vectors(density: NDArray[np.float64], vectors: StainVectors, amounts: NDArray[np.float64]) -> StainVectors:
    gram, fit = amounts.T @ amounts, amounts.T @ density
    better = vectors.copy()
    for dye in (0, 1):
        if gram[dye, dye] > 1e-9:
            moved = np.maximum(0, better[dye] + (fit[dye] - gram[dye] @ better) / gram[dye, dye])
            better[dye] = moved / max(np.linalg.norm(moved), 1.0)
    return better
