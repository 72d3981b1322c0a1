"""Nuclei of leukocytes that touch each other: where one connected object is parted into several."""

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.fields.density import Mask

LEAST_PART_UM: Final = 2.8
"""Smallest depth of a thick part that may be a leukocyte of its own; lobes of a neutrophil are 1 to 2.5 um deep."""

LEAST_PART_UM2: Final = 28.0
"""Smallest area of a nucleus that is parted from another, that of a disc 6 um wide: a small lymphocyte's."""

LEAST_GAP_UM: Final = 3.0
"""Smallest gap between nuclei of two cells in an object that is hardly wider than one: both have cytoplasm there."""

LEAST_OF_GROUP_UM2: Final = 18.0
"""Smallest area of a nucleus in several pieces, or without a thick part, that is parted from another."""

NECK: Final = 0.6
"""Largest depth between two such parts, as a share of the shallower one's."""

WIDEST_NUCLEUS_UM: Final = 19.0
"""Extent beyond which an object may be several nuclei: the widest leukocytes, monocytes, are 15 to 20 um wide."""

WIDEST_PART_UM: Final = 16.0
"""Largest extent of each of them."""

WIDEST_CHAIN_UM: Final = 38.0
"""Largest extent of an object that is parted by distance; less than `detect.OVERLAP_UM`."""

MOST_IN_CHAIN: Final = 4
"""Largest number of leukocytes in it."""

MOST_CONTACT_UM: Final = 4.0
"""Largest length of the contact between two of them."""


def inner_depth(mask: Mask, *, is_cut: bool = False) -> NDArray[np.float64]:
    """Return the distance of each pixel of a mask from its outside, in pixels, float64[H, W].

    The border is outside, unless `is_cut`: an object that the border cuts goes on behind it.
    """
    if is_cut and not mask.all():
        return np.asarray(ndimage.distance_transform_edt(mask))
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1])


def parted_nuclei(mask: Mask, um: float, *, apart_um: float, least_cut_um2: float) -> list[tuple[Mask, bool]]:
    """Return the nuclei of one connected object: several if thick parts are as far apart as leukocytes are.

    Args:
        mask: of the object, bool[H, W]; where it reaches the edge of the array, the border of the field cuts it.
        um: side of a pixel in micrometers.
        apart_um: smallest distance between the centers of two leukocytes.
        least_cut_um2: smallest area of a nucleus that the border cuts.

    Returns:
        The mask of each nucleus, and whether it was parted from another.
    """
    if np.count_nonzero(mask) * um**2 < LEAST_PART_UM2 + (least_cut_um2 if _is_cut(mask) else LEAST_PART_UM2):
        return [(mask, False)]
    depth = ndimage.gaussian_filter(inner_depth(mask, is_cut=True), 0.5 / um, mode="nearest")
    seeds = _seeds(depth, um, apart_um)
    if len(seeds) < 2:
        by_distance = _parted_by_distance(mask, um, apart_um, LEAST_OF_GROUP_UM2)
        groups = [(own, True) for own in _groups_of_lobes(mask, um, apart_um)]
        return groups if len(groups) > len(by_distance) else by_distance
    rows, columns = np.nonzero(mask)
    nearest = np.argmin([(rows - y) ** 2 + (columns - x) ** 2 for y, x in seeds], axis=0)
    parts = []
    for number in range(len(seeds)):
        part = np.zeros_like(mask)
        part[rows[nearest == number], columns[nearest == number]] = True
        parts.append(part)
    if any(np.count_nonzero(own) * um**2 < (least_cut_um2 if _is_cut(own) else LEAST_PART_UM2) for own in parts):
        return [(mask, False)]
    return [(part, True) for part in parts]


def _is_cut(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def without_far_pieces(mask: Mask, um: float) -> Mask:
    """Return an object without the pieces that are no lobes of its nucleus: grains of stain, a part of another cell.

    They are farther away than the widest nucleus is wide, and together too small for a nucleus. An object of several
    nuclei, or of none, stays as it is.
    """
    groups = _groups_of_pieces(mask, um, WIDEST_NUCLEUS_UM)
    large = [own for own in groups if np.count_nonzero(own) * um**2 >= LEAST_OF_GROUP_UM2]
    return large[0] if len(large) == 1 else mask


def _groups_of_lobes(mask: Mask, um: float, apart_um: float) -> list[Mask]:
    """Return the nuclei of an object of unconnected pieces that is wider than one nucleus; none if it is one."""
    masks = _groups_of_pieces(mask, um, WIDEST_PART_UM)
    large = [own for own in masks if np.count_nonzero(own) * um**2 >= LEAST_OF_GROUP_UM2]
    if len(large) < 2 or not (width_of(outline(mask)) * um > WIDEST_NUCLEUS_UM or _are_sure(large, um)):
        return []
    centers = np.array([np.argwhere(own).mean(axis=0) for own in large])
    for own in masks:
        if np.count_nonzero(own) * um**2 < LEAST_OF_GROUP_UM2:  # a lobe or a granule of the nearest nucleus
            away = np.argwhere(own).mean(axis=0) - centers
            large[int(np.argmin((away**2).sum(axis=1)))] |= own
    return large if _are_apart(centers, um, apart_um) else []


def _are_sure(masks: list[Mask], um: float) -> bool:
    """Return whether these are nuclei of several cells, though together hardly wider than one: large and far apart."""
    if any(np.count_nonzero(own) * um**2 < LEAST_PART_UM2 for own in masks):
        return False
    gaps = (ndimage.distance_transform_edt(~one)[other].min() for one, other in combinations(masks, 2))
    return bool(min(gaps) * um >= LEAST_GAP_UM)


def _groups_of_pieces(mask: Mask, um: float, widest_um: float) -> list[Mask]:
    """Return the unconnected pieces of an object in groups as wide as a nucleus; none if it is no wider than stated.

    Pieces are joined by complete linkage (Sorensen 1948) as long as what they make is not wider than a nucleus.
    """
    labeled, count = ndimage.label(mask)
    if count < 2 or float(np.hypot(*mask.shape)) * um <= widest_um:
        return []
    hulls = [outline(labeled == own) for own in range(1, count + 1)]
    widths = np.array([[width_of(np.concatenate([one, other])) * um for other in hulls] for one in hulls])
    if widths.max() <= widest_um:
        return []
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to load, and needed for few fields

    groups = fcluster(linkage(widths[np.triu_indices(count, 1)], "complete"), WIDEST_PART_UM, "distance")
    return [np.isin(labeled, 1 + np.flatnonzero(groups == own)) for own in np.unique(groups)]


def outline(mask: Mask) -> NDArray[np.float64]:
    """Return the first and the last pixel of each row of a mask, float64[N, 2]: the widest distances are theirs."""
    rows = np.flatnonzero(mask.any(axis=1))
    first, last = mask[rows].argmax(axis=1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([rows, first], axis=1), np.stack([rows, last], axis=1)]).astype(np.float64)


def width_of(points: NDArray[np.float64]) -> float:
    """Return the largest distance of two points."""
    return float(np.sqrt(((points[:, None] - points) ** 2).sum(axis=2).max()))


def _parted_by_distance(mask: Mask, um: float, apart_um: float, least_um2: float) -> list[tuple[Mask, bool]]:
    """Return the nuclei of an object that is wider than one: of neutrophils, which have no thick part, for example.

    Its pixels are clustered by k-means (Lloyd 1982, doi:10.1109/TIT.1982.1056489) into as few parts as are each as wide
    as a nucleus, as far apart as leukocytes are, and hardly connected.
    """
    points = np.argwhere(mask).astype(np.float64)
    if not WIDEST_NUCLEUS_UM < float(np.ptp(points, axis=0).max()) * um <= WIDEST_CHAIN_UM:
        return [(mask, False)]
    from scipy.cluster.vq import kmeans2  # slow to load, and needed for few fields

    for count in range(2, MOST_IN_CHAIN + 1):
        centers, labels = kmeans2(points, _far_apart(points, count), minit="matrix", missing="warn")
        if all(_may_be_one(points[labels == own], um, least_um2) for own in range(count)) and _are_apart(
            centers, um, apart_um
        ):
            labeled = np.zeros(mask.shape, np.int64)
            labeled[mask] = labels + 1
            parts = [labeled == own for own in range(1, count + 1)]
            if _contact_px(labeled) * um <= MOST_CONTACT_UM * (count - 1):
                return [(part, True) for part in parts]
    return [(mask, False)]


def _far_apart(points: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return points far from each other, with which k-means begins."""
    chosen = [points[np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1))]]
    while len(chosen) < count:
        nearest = np.min([((points - one) ** 2).sum(axis=1) for one in chosen], axis=0)
        chosen.append(points[np.argmax(nearest)])
    return np.array(chosen)


def _may_be_one(points: NDArray[np.float64], um: float, least_um2: float) -> bool:
    is_large = len(points) * um**2 >= least_um2
    return is_large and float(np.ptp(points, axis=0).max()) * um <= WIDEST_PART_UM


def _are_apart(centers: NDArray[np.float64], um: float, apart_um: float) -> bool:
    between = np.hypot(*(centers[:, None] - centers).transpose(2, 0, 1)) * um
    return bool(between[~np.eye(len(centers), dtype=bool)].min() >= apart_um)


def _contact_px(labeled: NDArray[np.int64]) -> int:
    """Return the number of pairs of neighboring pixels in a row or column that belong to two parts."""
    pairs = ((labeled[1:], labeled[:-1]), (labeled[:, 1:], labeled[:, :-1]))
    return sum(int(np.count_nonzero((one > 0) & (other > 0) & (one != other))) for one, other in pairs)


def _seeds(depth: NDArray[np.float64], um: float, apart_um: float) -> list[tuple[int, int]]:
    """Return the middles of thick parts, thickest first, between which the object has a neck."""
    reach = 2 * round(1.5 / um) + 1
    tops = np.argwhere((depth == ndimage.maximum_filter(depth, reach)) & (depth >= LEAST_PART_UM / um))
    seeds: list[tuple[int, int]] = []
    for y, x in sorted(tops.tolist(), key=lambda place: -float(depth[place[0], place[1]])):
        if all(_are_two(depth, (y, x), other, um, apart_um) for other in seeds):
            seeds.append((y, x))
    return seeds


def _are_two(
    depth: NDArray[np.float64], one: tuple[int, int], other: tuple[int, int], um: float, apart_um: float
) -> bool:
    if np.hypot(one[0] - other[0], one[1] - other[1]) * um < apart_um:
        return False
    steps = np.linspace(0, 1, 32)
    rows = np.rint(one[0] + steps * (other[0] - one[0])).astype(int)
    columns = np.rint(one[1] + steps * (other[1] - one[1])).astype(int)
    return bool(depth[rows, columns].min() < NECK * min(depth[one], depth[other]))
