"""A cell without its stain: outlines of nucleus and cell, and how dark each place is compared with the nucleus.

What a hospital's dyes, lamp and camera change is mostly gone; lobes, cell size, nucleus-to-cytoplasm ratio and granules
are still there. A classifier that sees only this needs no re-staining, and errs on other cells than one that sees
colors.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hemabridge.imaging.color import optical_density
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images

DARK_QUANTILE = 0.9
"""Of the nucleus's densities: what is taken as the density of dense chromatin."""

DARKEST = 0.1
"""Dense chromatin is shown this bright, so that still denser places differ from it."""

LEAST_DENSITY = 1e-3
"""A nucleus is taken to be no paler than this, so that a blank image has a view, too."""

REMEMBERED = 6000
"""Views that are kept, since several classifiers ask for those of the same images one after the other: so many of 96 px
and their images take 330 MB. A round through more images than this would find none of them."""


def shape_views(images: UInt8Images) -> UInt8Images:
    """Return the view of each cell, uint8[N, H, W, 3], for RGB uint8[N, H, W, 3].

    The first channel is 255 inside of the nucleus, the second inside of the cell. The third is the brightness: 255 for
    the empty field, `DARKEST` of it for dense chromatin, linear in the optical density (mean of the three channels).
    Masks are those of `hemabridge.imaging.compartments.segment`.
    """
    views = np.empty_like(images)
    for image, view in zip(images, views, strict=True):
        view[:] = _shape_view(image.tobytes(), image.shape)
    return views


@lru_cache(maxsize=REMEMBERED)
def _shape_view(pixels: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    image: UInt8Image = np.frombuffer(pixels, np.uint8).reshape(shape)
    found = segment(image)
    density = optical_density(image)
    glass = found.background if found.background.any() else np.ones(image.shape[:2], bool)
    density = (density - np.median(density[glass], axis=0)).mean(axis=2)
    inside = density[found.nucleus] if found.nucleus.any() else density.ravel()
    dense = max(float(np.quantile(inside, DARK_QUANTILE)), LEAST_DENSITY)
    brightness = np.clip(1.0 - (1.0 - DARKEST) * density / dense, 0.0, 1.0)
    return (np.stack([found.nucleus, found.cell, brightness], axis=2) * 255.0).astype(np.uint8)
