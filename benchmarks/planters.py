"""Changes of morphology to plant into pictures of cells: smooth, without a visible seam, drawn by a seeded generator.

Each planter takes one picture uint8[S, S, 3] (RGB), the masks of its cell, a strength and a generator of random
numbers, and returns a changed copy. Where a cell offers no place for the change, as one without cytoplasm for
granules, it returns None.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.compartments import Compartments, segment
from hemabridge.imaging.masks import Mask
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

Float = NDArray[np.float64]
Planter = Callable[[UInt8Image, Compartments, np.random.Generator], UInt8Image | None]

SEAM_SHARE = 0.012
"""Standard deviation of the blur of every mask's edge, as a share of the side: about 1 px of 96."""

BLOTCH_SHARE = 0.08
"""Standard deviation of the blur that makes blotches of noise, as a share of the side."""

PINK, YELLOW = np.array([0.96, -0.28]), np.array([-0.1, 0.995])
"""Directions of two tints in a and b."""

FALL_SHARE = 0.05
"""A warp falls to nothing within about twice this share of the side outside of the nucleus."""


@dataclass(frozen=True)
class Change:
    """One kind of change at one strength; `at_a_glance` if a person sees it without a comparison of pixels."""

    kind: str
    strength: str
    plant: Planter
    at_a_glance: bool


def scaled_nucleus(
    image: UInt8Image, masks: Compartments, rng: np.random.Generator, *, share: float
) -> UInt8Image | None:
    """Make the nucleus larger or smaller by `share` of its diameter; what lies around it is drawn along."""
    if not masks.nucleus.any():
        return None
    factor = 1 + share if rng.random() < 0.5 else 1 / (1 + share)
    side = image.shape[0]
    rows, columns = np.indices(image.shape[:2], np.float64)
    middle = [float(axis[masks.nucleus].mean()) for axis in (rows, columns)]
    outside = ndimage.distance_transform_edt(~masks.nucleus)
    weight = ndimage.gaussian_filter(np.exp(-0.5 * (outside / (FALL_SHARE * side)) ** 2), SEAM_SHARE * side)
    pull = weight * (1 / factor - 1)
    places = [axis + pull * (axis - center) for axis, center in zip((rows, columns), middle, strict=True)]
    bands = [
        ndimage.map_coordinates(image[..., b].astype(np.float64), places, order=3, mode="nearest") for b in (0, 1, 2)
    ]
    return _levels(np.stack(bands, axis=2))


def cut_lobe(image: UInt8Image, masks: Compartments, rng: np.random.Generator, *, share: float) -> UInt8Image | None:
    """Turn the `share` of the nucleus that lies outermost in some direction into cytoplasm."""
    if np.count_nonzero(masks.nucleus) < 40 or np.count_nonzero(masks.cytoplasm) < 20:
        return None
    rows, columns = np.indices(image.shape[:2], np.float64)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * rows + np.sin(angle) * columns
    limit = np.quantile(along[masks.nucleus], 1 - share)
    # Nuclei have a soft edge: what is left of it would be a thin outline of the lobe.
    lost = ndimage.binary_dilation(masks.nucleus, iterations=2) & (along > limit)
    return _filled(image, lost, masks.cytoplasm, rng)


def vacuole(
    image: UInt8Image, masks: Compartments, rng: np.random.Generator, *, radius_share: float
) -> UInt8Image | None:
    """Draw a pale bubble into the cell."""
    radius = radius_share * image.shape[0]
    depth = ndimage.distance_transform_edt(masks.cell)
    places = np.argwhere(depth > min(radius, 0.8 * depth.max()))
    if len(places) == 0 or not masks.background.any():
        return None
    disc = _disc(image.shape[:2], places[rng.integers(len(places))], radius)
    color = np.median(image[masks.background], axis=0)
    return _mixed(image, np.broadcast_to(color, image.shape), 0.8 * disc)


def granules(image: UInt8Image, masks: Compartments, rng: np.random.Generator, *, count: int) -> UInt8Image | None:
    """Draw dark granules, of about 2.5 % of the side across, into the cytoplasm."""
    inner = ndimage.binary_erosion(masks.cytoplasm, iterations=2)
    places = np.argwhere(inner)
    if len(places) < 12 * count or not masks.nucleus.any():
        return None
    color = np.median(image[masks.nucleus], axis=0)
    weight = np.zeros(image.shape[:2])
    for place in places[rng.choice(len(places), count, replace=False)]:
        weight = np.maximum(weight, _disc(image.shape[:2], place, 0.0125 * image.shape[0]))
    return _mixed(image, np.broadcast_to(color, image.shape), weight)


def blotched_glass(
    image: UInt8Image, masks: Compartments, rng: np.random.Generator, *, chroma: float
) -> UInt8Image | None:
    """Tint the glass in blotches of one chroma (CIE Lab), pink and yellow, with soft edges; lightness stays."""
    if masks.background.mean() < 0.05:
        return None
    side = image.shape[0]
    field = ndimage.gaussian_filter(rng.normal(size=image.shape[:2]), BLOTCH_SHARE * side, mode="wrap")
    field = np.clip(field / np.quantile(np.abs(field[masks.background]), 0.7), -1, 1)
    weight = ndimage.gaussian_filter(masks.background.astype(np.float64), SEAM_SHARE * side) * field
    lab = rgb_to_lab(image).astype(np.float64)
    lab[..., 1:] += chroma * np.where(weight[..., None] > 0, PINK, YELLOW) * np.abs(weight)[..., None]
    return lab_to_rgb(lab)


def inverted(image: UInt8Image, masks: Compartments, rng: np.random.Generator) -> UInt8Image | None:
    """Swap the colors of nucleus and background, and all between them: one global color map."""
    if not masks.nucleus.any() or not masks.background.any():
        return None
    dark, pale = (np.median(image[mask], axis=0) for mask in (masks.nucleus, masks.background))
    axis = dark - pale
    place = ((image - pale) @ axis) / (axis @ axis)
    return _levels(image + (1 - 2 * place)[..., None] * axis)


def pasted(
    image: UInt8Image, masks: Compartments, rng: np.random.Generator, *, others: UInt8Images, whole: bool
) -> UInt8Image | None:
    """Put the cell of another picture in the place of this one; or, if `whole`, all of that picture."""
    other = others[rng.integers(len(others))]
    if whole:
        return other.copy()
    own = masks.cell | segment(other).cell
    if not own.any():
        return None
    weight = ndimage.gaussian_filter(
        ndimage.binary_dilation(own, iterations=2).astype(float), 2 * SEAM_SHARE * len(image)
    )
    return _mixed(image, other, weight)


def changes(others: UInt8Images) -> list[Change]:
    """Return all kinds and strengths; `others` are cells of the target to copy from."""
    return [
        *(
            Change("nucleus scaled", f"{share:.0%}", partial(scaled_nucleus, share=share), share >= 0.1)
            for share in (0.05, 0.10, 0.15, 0.20)
        ),
        *(
            Change("lobe cut", f"{share:.0%}", partial(cut_lobe, share=share), share >= 0.2)
            for share in (0.1, 0.2, 0.3)
        ),
        *(
            Change("vacuole", f"{share:.1%} of side", partial(vacuole, radius_share=share), share >= 0.04)
            for share in (0.02, 0.03, 0.04, 0.06)
        ),
        *(Change("granules", f"{count}", partial(granules, count=count), count >= 8) for count in (3, 8, 16)),
        *(
            Change("glass tinted", f"chroma {chroma}", partial(blotched_glass, chroma=chroma), chroma >= 20)
            for chroma in (10, 20, 30)
        ),
        Change("colors swapped", "full", inverted, True),
        Change("other cell", "cell", partial(pasted, others=others, whole=False), True),
        Change("other cell", "whole picture", partial(pasted, others=others, whole=True), True),
    ]


def _disc(shape: tuple[int, ...], center: NDArray[np.int64], radius: float) -> Float:
    """Return 1 inside of a disc, 0 outside, with a soft edge of about a pixel."""
    rows, columns = np.indices(shape, np.float64)
    distance = np.hypot(rows - center[0], columns - center[1])
    return np.asarray(1 / (1 + np.exp(np.clip((distance - radius) / 0.35, -50, 50))))


def _filled(image: UInt8Image, lost: Mask, like: Mask, rng: np.random.Generator) -> UInt8Image:
    """Fill a region with the texture of another one: its pixels, drawn at random and blurred a little."""
    grains = image[like][rng.integers(np.count_nonzero(like), size=lost.shape)].astype(np.float64)
    middle = np.median(image[like], axis=0)
    texture = middle + 2 * (ndimage.gaussian_filter(grains, (2, 2, 0)) - middle)
    weight = ndimage.gaussian_filter(lost.astype(np.float64), SEAM_SHARE * len(image))
    return _mixed(image, texture, weight)


def _mixed(image: UInt8Image, other: NDArray[np.generic], weight: Float) -> UInt8Image:
    return _levels(image + weight[..., None] * (np.asarray(other, np.float64) - image))


def _levels(values: Float) -> UInt8Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
