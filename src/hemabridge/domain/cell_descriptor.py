"""The appearance descriptor of a cell's image: 24 numbers on color, noise, sharpness and scale; clusters of cells."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.imaging.color import optical_density, rgb_to_lab
from hemabridge.imaging.compartments import background_color, segment
from hemabridge.imaging.masks import Mask
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image

DESCRIPTOR_PX: Final = 64
"""Side at which cells are measured, in pixels: large enough for the noise and blur of a camera, and fast."""

LAB_STEP, DENSITY_STEP = 1.0, 0.015
"""A just visible difference in L, a or b, and a similar one in optical density."""

COMPARTMENTS: Final = ("nucleus", "cytoplasm", "red_cells")
COLORS: Final = ("l", "a", "b", "density_red", "density_green", "density_blue")
NAMES: Final = (
    "background_l",
    "background_a",
    "background_b",
    *(f"{compartment}_{color}" for compartment in COMPARTMENTS for color in COLORS),
    "log_noise",
    "log_sharpness",
    "log_nucleus_share",
)
"""Names of the 24 numbers of a descriptor, in their order."""

STEPS: Final = np.array([LAB_STEP] * 3 + ([LAB_STEP] * 3 + [DENSITY_STEP] * 3) * 3 + [0.15, 0.07, 0.04])
"""For each number of a descriptor, a difference that is too small to be relevant."""

_FEWEST_PIXELS: Final = 20
_ROUNDS: Final = 50
_LAPLACIAN: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])


def cell_descriptor(cell: UInt8Image) -> NDArray[np.float64]:
    """Return the descriptor of a cell, float64[24] by `NAMES`, for RGB uint8[S, S, 3]; NaN for what was not found.

    Colors are medians over a compartment, in Lab and in optical density relative to the image's own background. Noise
    is measured as in Immerkaer (1996, doi:10.1006/cviu.1996.0060) on the smoother half of the image, in gray levels.
    Sharpness is the steepness of the edges per pixel as a share of the contrast. The nucleus's diameter is a share of
    the side.
    """
    image = resize_square(cell, DESCRIPTOR_PX)
    found, empty = segment(image), np.maximum(background_color(image), 1)
    lab, density = rgb_to_lab(image), optical_density(image, empty)
    masks = (found.nucleus, found.cytoplasm, found.red_cells)
    colors = [_colors(mask, lab, density) for mask in masks]
    background = rgb_to_lab(np.rint(empty).astype(np.uint8)[None])[0]
    area = np.count_nonzero(found.nucleus)
    share = np.log(np.sqrt(4 * area / np.pi) / DESCRIPTOR_PX) if area else np.nan
    return np.concatenate([background, *colors, _camera(image), [share]]).astype(np.float64)


def noise_levels(luma: NDArray[np.float64]) -> float:
    """Return the standard deviation of the noise of a gray image float64[H, W], on its smoother half.

    Immerkaer (1996), eq. 3: sqrt(pi / 2) / 6 times the mean absolute response of a mask whose response to planes is 0.
    """
    response = np.abs(ndimage.convolve(luma, _LAPLACIAN))[1:-1, 1:-1]
    edges = ndimage.gaussian_gradient_magnitude(luma, 1.5)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * response[edges <= np.median(edges)].mean())


def _colors(mask: Mask, lab: NDArray[np.floating], density: NDArray[np.floating]) -> NDArray[np.float64]:
    if np.count_nonzero(mask) < _FEWEST_PIXELS:
        return np.full(len(COLORS), np.nan)
    return np.concatenate([np.median(lab[mask], axis=0), np.median(density[mask], axis=0)]).astype(np.float64)


def _camera(image: UInt8Image) -> tuple[float, float]:
    luma = np.asarray(image @ np.array([0.299, 0.587, 0.114]), np.float64)
    low, high = np.percentile(luma, (2, 98))
    steepest = float(np.percentile(ndimage.gaussian_gradient_magnitude(luma, 0.7), 98))
    return float(np.log(noise_levels(luma) + 0.1)), float(np.log(steepest / max(high - low, 1.0) + 1e-3))


def clusters_of(points: NDArray[np.float64], count: int) -> list[NDArray[np.intp]]:
    """Divide points into at most `count` clusters by k-means (Lloyd 1982, doi:10.1109/TIT.1982.1056489).

    The result is deterministic. The first center is the point farthest from the mean, and each further one is the point
    farthest from the centers before it (Gonzalez 1985, doi:10.1016/0304-3975(85)90224-5).

    Args:
        points: float64[N, D], N at least 1.
        count: largest number of clusters, at least 1.

    Returns:
        The rows of each cluster, intp.
    """
    centers = _spread_out(points, count)
    labels = np.zeros(len(points), np.intp)
    for _ in range(_ROUNDS):
        nearest = np.argmin(((points[:, None] - centers) ** 2).sum(axis=2), axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        kept = np.unique(labels)
        centers[kept] = [points[labels == label].mean(axis=0) for label in kept]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _spread_out(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    chosen = [points[np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1))]]
    apart = ((points - chosen[0]) ** 2).sum(axis=1)
    while len(chosen) < count and apart.max() > 0:
        chosen.append(points[np.argmax(apart)])
        apart = np.minimum(apart, ((points - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)
