"""Reinhard's color transfer with separate statistics for nucleus, cytoplasm, red cells and the empty field."""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.glass import white_of
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.levels import Rgb
from hemabridge.normalizers.measures import site_glass, site_white, spaced, whitened
from hemabridge.normalizers.normalizer import Measured, Normalizer
from hemabridge.normalizers.reinhard import BLANK_DEVIATION, LabStatistics, lab_statistics, transferred

LARGEST_GAIN = 1.6
"""Largest factor on the standard deviation within a compartment, and inverse of the smallest one."""

BLEND_SHARE = 0.02
"""Standard deviation of the Gaussian that blends compartments, as a share of the image's longer side."""

LEAST_PIXELS = 200
"""Fewest pixels in all images of a site for which a compartment gets separate statistics."""


class CompartmentStatistics(BaseModel):
    """Statistics of one compartment at both sites, after each image got the target's white point."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    source: LabStatistics
    target: LabStatistics


class ReinhardCompartment(Normalizer):
    """Map nucleus, cytoplasm, red cells and the empty field separately, with soft borders between them.

    Each image first gets the target's white point. Then each compartment, over all images of the source, gets the
    target's Lab mean and standard deviation. The statistics are those of the sites, not of the image, so that orange
    granules stay orange if most cells have none. The maps are weighted by masks blurred with a Gaussian, so that no new
    edges appear.

    The statistics of all pixels are used for a compartment that one site lacks, for pixels of no compartment
    (platelets), and for images without a nucleus. An image that shows only empty field gets the white point only.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
        nucleus: statistics of the nuclei of the central leukocytes.
        cytoplasm: of their cytoplasm.
        red_cells: of red cells.
        background: of the empty field.
        whole: of all pixels.
    """

    method: Literal["reinhard-compartment"] = "reinhard-compartment"
    target_white: Rgb
    nucleus: CompartmentStatistics
    cytoplasm: CompartmentStatistics
    red_cells: CompartmentStatistics
    background: CompartmentStatistics
    whole: CompartmentStatistics

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Segment images of both sites and measure their compartments."""
        check_sites(source, target)
        white = site_white(target)
        own, wanted = _site_statistics(source, white), _site_statistics(target, white)

        def statistics(name: str) -> CompartmentStatistics:
            known = name if name in own and name in wanted else "whole"
            return CompartmentStatistics(source=own[known], target=wanted[known])

        return cls(
            source_glass=site_glass(source),
            target_white=white,
            nucleus=statistics("nucleus"),
            cytoplasm=statistics("cytoplasm"),
            red_cells=statistics("red_cells"),
            background=statistics("background"),
            whole=statistics("whole"),
        )

    @property
    def is_pointwise(self) -> bool:
        """False: the compartment of a pixel depends on its surroundings."""
        return False

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with each compartment mapped by its statistics."""
        white = whitened(image, measured.white, self.target_white)
        lab = rgb_to_lab(white)
        if lab[..., 0].std() < BLANK_DEVIATION:
            return white
        masks = _masks(white)
        moved = np.zeros(lab.shape)
        for name, weight in _weights(masks).items():
            statistics: CompartmentStatistics = getattr(self, name)
            moved += weight[..., None] * transferred(lab, statistics.source, statistics.target, LARGEST_GAIN)
        return lab_to_rgb(moved)


_NAMES = ("nucleus", "cytoplasm", "red_cells", "background")


def _masks(image: UInt8Image) -> dict[str, NDArray[np.bool_]]:
    """Return the masks of the compartments, bool[H, W]; all are empty if no nucleus is found."""
    found = segment(image)
    is_found = bool(found.nucleus.any())
    return {name: getattr(found, name) & is_found for name in _NAMES}


def _weights(masks: dict[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.float32]]:
    """Return the weight of each compartment in each pixel, float32[H, W]; with `whole` they add up to 1."""
    masks = masks | {"whole": ~np.logical_or.reduce(list(masks.values()))}
    sigma = BLEND_SHARE * max(masks["whole"].shape)
    soft = {name: ndimage.gaussian_filter(mask.astype(np.float32), sigma) for name, mask in masks.items()}
    total = np.sum(list(soft.values()), axis=0)
    return {name: weight / total for name, weight in soft.items()}


def _site_statistics(images: UInt8Images, white: Rgb) -> dict[str, LabStatistics]:
    """Return the statistics of all pixels, and of each compartment that has enough of them."""
    pixels: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*_NAMES, "whole")}
    for image in spaced(images):
        balanced = whitened(image, white_of(image, None)[0], white)
        lab = rgb_to_lab(balanced)
        pixels["whole"].append(lab.reshape(-1, 3))
        for name, mask in _masks(balanced).items():
            pixels[name].append(lab[mask])
    pooled = {name: np.concatenate(parts) for name, parts in pixels.items()}
    return {name: lab_statistics(lab) for name, lab in pooled.items() if name == "whole" or len(lab) >= LEAST_PIXELS}
