"""Check that a fitted map gives each compartment of the source's cells colors that it has at the target.

A fit can succeed and still be wrong: if the two stain vectors of both sites are different dyes, nuclei become green.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.masks import Mask
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.sampling import evenly_spaced

CHECKED_IMAGES: Final = 40
"""At most so many images of a site are segmented, evenly spaced."""

FEWEST_CELLS: Final = 10
"""A compartment is checked if at least so many cells show it."""

FEWEST_PIXELS: Final = 20
"""A cell shows a compartment if it has at least so many pixels of it."""

TARGET_PERCENTILE: Final = 99.0
"""Percentile of a compartment's pixels at the target; colors farther away hardly occur there."""

NAMES: Final = ("nucleus", "cytoplasm", "red_cells", "background")
ORDERED: Final = ("nucleus", "cytoplasm", "background")
"""Order from dark to bright, in every Romanowsky stain."""

WORDS: Final[Mapping[str, str]] = {
    "nucleus": "nuclei",
    "cytoplasm": "cytoplasm",
    "red_cells": "red cells",
    "background": "empty glass",
}


@dataclass(frozen=True, eq=False)
class SiteColors:
    """The colors of a site's compartments.

    Attributes:
        medians: for each compartment that enough cells show: the median over cells of the cell's median, CIE Lab,
            float64[3].
        reach: for each compartment: the distance from its median in a and b within which `TARGET_PERCENTILE` percent of
            its pixels lie.
    """

    medians: Mapping[str, NDArray[np.float64]]
    reach: Mapping[str, float]


def faults_of(fitted: Standardizer, source: UInt8Images, target: UInt8Images) -> tuple[str, ...]:
    """Return descriptions of implausible colors that a fitted map gives to the source's cells; empty if there are none.

    For each compartment that both sites show, the re-stained median must lie within the target's spread in a and b of
    CIE Lab, or be no farther from the target's median than without the map. Nucleus, cytoplasm and glass must keep
    their order from dark to bright.

    Args:
        fitted: the map from source to target.
        source: cells of the source, uint8[N, S, S, 3].
        target: cells of the target, uint8[M, S', S', 3].
    """
    some = source[evenly_spaced(len(source), CHECKED_IMAGES)]
    masks = _masks_of(some)
    wanted = _colors_of(target[evenly_spaced(len(target), CHECKED_IMAGES)])
    before, after = measured(some, masks).medians, measured(fitted.standardize(some), masks).medians
    found = []
    for name in NAMES:
        if name in after and name in wanted.medians:
            own, there = after[name], wanted.medians[name]
            away, was = (float(np.linalg.norm((color - there)[1:])) for color in (own, before[name]))
            if away > max(wanted.reach[name], was):
                found.append(
                    f"{WORDS[name]} become Lab {_text(own)}, which is {away:.0f} in a and b from those of the target, "
                    f"{_text(there)}; its own lie within {wanted.reach[name]:.0f}, and without the map it was {was:.0f}"
                )
    return (*found, *_disordered(before, after, wanted.medians))


def measured(images: UInt8Images, masks: list[dict[str, Mask]]) -> SiteColors:
    """Measure the compartments of uint8[N, H, W, 3] by the masks of each image."""
    pixels: dict[str, list[NDArray[np.float32]]] = {name: [] for name in NAMES}
    for image, own in zip(images, masks, strict=True):
        lab = rgb_to_lab(image)
        for name, mask in own.items():
            pixels[name].append(lab[mask])
    seen = {name: parts for name, parts in pixels.items() if len(parts) >= FEWEST_CELLS}
    medians = {
        name: np.median([np.median(part, axis=0) for part in parts], axis=0).astype(np.float64)
        for name, parts in seen.items()
    }
    reach = {
        name: float(
            np.percentile(np.linalg.norm((np.concatenate(parts) - medians[name])[:, 1:], axis=1), TARGET_PERCENTILE)
        )
        for name, parts in seen.items()
    }
    return SiteColors(medians, reach)


def _disordered(*sites: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Return which compartments the map reversed in lightness, although the target has the order of the original."""
    before, after, target = sites
    found = []
    for dark, bright in pairwise(ORDERED):
        known = all(dark in site and bright in site for site in sites)
        if not known or after[dark][0] < after[bright][0]:
            continue
        if before[dark][0] < before[bright][0] and target[dark][0] < target[bright][0]:
            found.append(
                f"{WORDS[dark]} become brighter (L {after[dark][0]:.0f}) than {WORDS[bright]} "
                f"(L {after[bright][0]:.0f})"
            )
    return found


_KEPT: Final = 8


class _Images:
    """Images as a cache key, since an ensemble checks several normalizers on the same cells."""

    def __init__(self, images: UInt8Images) -> None:
        self.images = images
        self.key = f"{hashlib.sha256(images.tobytes()).hexdigest()} {images.shape}"

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Images) and other.key == self.key


def _masks_of(images: UInt8Images) -> list[dict[str, Mask]]:
    return _masks(_Images(np.ascontiguousarray(images)))


def _colors_of(images: UInt8Images) -> SiteColors:
    return measured(images, _masks_of(images))


@lru_cache(maxsize=_KEPT)
def _masks(images: _Images) -> list[dict[str, Mask]]:
    found = []
    for image in images.images:
        shown = segment(image)
        masks = {name: getattr(shown, name) for name in NAMES} if shown.nucleus.any() else {}
        found.append({name: mask for name, mask in masks.items() if np.count_nonzero(mask) >= FEWEST_PIXELS})
    return found


def _text(color: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in color) + ")"
