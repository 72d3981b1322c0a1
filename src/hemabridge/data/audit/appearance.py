"""Color and scale of a site, measured on a sample of its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.audit.audit_results import ColorProfile, CompartmentName, SiteScale, Triple
from hemabridge.fields.cell_crop import CellSize, propose_crop_px
from hemabridge.imaging.color import optical_density, rgb_to_lab
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Image

COMPARTMENTS: tuple[CompartmentName, ...] = get_args(CompartmentName)


@dataclass(frozen=True, eq=False)
class Appearance:
    """Measures of one image.

    Attributes:
        colors: median RGB, float64[3], 0..255, of each compartment that was found.
        size: diameter of the nucleus, and discs that may be red cells.
        smallest_side_px: the shorter side of the image, in pixels.
    """

    colors: dict[CompartmentName, NDArray[np.float64]]
    size: CellSize
    smallest_side_px: int


def measure(image: UInt8Image) -> Appearance:
    """Measure one RGB image uint8[H, W, 3]."""
    found = segment(image)
    masks = {name: getattr(found, name) for name in COMPARTMENTS}
    colors = {name: np.median(image[mask], axis=0) for name, mask in masks.items() if mask.any()}
    return Appearance(colors, CellSize.of(image), min(image.shape[:2]))


def color_profiles(manifest: int, site: str, sample: Sequence[Appearance]) -> list[ColorProfile]:
    """Return the color profile of each compartment that was found in at least one image of the sample."""
    profiles = []
    for compartment in COMPARTMENTS:
        medians = [seen.colors[compartment] for seen in sample if compartment in seen.colors]
        if medians:
            rgb = np.rint(medians).astype(np.uint8)
            lab = rgb_to_lab(rgb)
            spread = np.subtract(*np.percentile(lab, (75, 25), axis=0))
            density = np.median(optical_density(rgb), axis=0)
            lab_median = _triple(np.median(lab, axis=0))
            profiles.append(
                ColorProfile(manifest, site, compartment, len(medians), lab_median, _triple(spread), _triple(density))
            )
    return profiles


def site_scale(manifest: int, site: str, sample: Sequence[Appearance], stated_crop_px: Sequence[int]) -> SiteScale:
    """Return the scale of a site, from the measures of at least one of its images."""
    diameters = [seen.size.nucleus_px for seen in sample if seen.size.nucleus_px is not None]
    return SiteScale(
        manifest=manifest,
        site=site,
        n=len(sample),
        n_nuclei=len(diameters),
        nucleus_px=_triple(np.percentile(diameters, (25, 50, 75))) if diameters else None,
        proposed_crop_px=propose_crop_px(seen.size for seen in sample),
        stated_crop_px=tuple(sorted(set(stated_crop_px))),
        smallest_side_px=min(seen.smallest_side_px for seen in sample),
    )


def _triple(values: NDArray[np.floating]) -> Triple:
    first, second, third = (round(float(value), 3) for value in values)
    return first, second, third
