"""Stain separation: the stain vectors and amounts of two dyes are replaced by those of the target."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.glass import Glass
from hemabridge.normalizers.image_sets import check_sites
from hemabridge.normalizers.known_colors import without_fourth
from hemabridge.normalizers.levels import Rgb, as_rgb
from hemabridge.normalizers.measures import (
    from_density,
    levels_density,
    nearest_scale,
    site_density,
    site_glass,
    site_white,
)
from hemabridge.normalizers.normalizer import Gain, Measured, Normalizer
from hemabridge.normalizers.plausibility import faults_of
from hemabridge.normalizers.stain_vectors import (
    LEAST_ANGLE_DEG,
    StainVectors,
    by_dye,
    completed,
    inverse_of,
    macenko_vectors,
    stained,
    vahadane_vectors,
)

LARGEST_GAIN = 3.0
"""Largest factor on the amount of a dye, and inverse of the smallest one."""

LARGEST_ADDED: Final = 10.0
"""Largest optical density that one channel may add if the light is a product in single precision."""

IN_SOLUTION = np.array([[0.87, 0.46, 0.17], [0.08, 0.97, 0.23]])
"""Approximate optical densities of azure B and of eosin Y in solution, in red, green and blue, as unit vectors."""

_BLOCK_PIXELS: Final = 16_384
"""Number of pixels whose light is computed at once, so that it stays in the processor's cache."""

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Vector: TypeAlias = tuple[Share, Share, Share]
Vectors: TypeAlias = tuple[Vector, Vector]


@dataclass(frozen=True)
class _Sites:
    """Densities of stained pixels of both sites, float64[P, 3] and float64[Q, 3], and their empty fields."""

    own: NDArray[np.float64]
    wanted: NDArray[np.float64]
    source_glass: Glass
    target_white: Rgb

    @classmethod
    def measured(cls, source: UInt8Images, target: UInt8Images) -> "_Sites":
        own, wanted = stained(site_density(source)), stained(site_density(target))
        return cls(own, wanted, site_glass(source), site_white(target))


class StainSeparation(Normalizer):
    """Replace two dyes: their directions in optical density, and their amounts.

    The rows of V are the directions of the dyes and a third one perpendicular to both, for the residual (Ruifrok and
    Johnston 2001, Anal. Quant. Cytol. Histol. 23(4)). The amounts H = OD V^-1 are scaled and combined with the target's
    directions: OD' = (H s) V'. A site that is mapped to itself does not change. Macenko and Vahadane scale by the 99th
    percentile. In single cells that is determined by a few pixels at dark rims; the factors here are therefore those
    of `measures.nearest_scale`.

    Attributes:
        target_white: color of the target's empty field, sRGB 0..255.
        source_vectors: directions of azure and eosin at the source, unit vectors in OD of red, green, blue.
        target_vectors: the same at the target.
        scale: factor on the amounts of azure, of eosin, and of the rest.
    """

    target_white: Rgb
    source_vectors: Vectors
    target_vectors: Vectors
    scale: tuple[Gain, Gain, Gain]

    @field_validator("source_vectors", "target_vectors")
    @classmethod
    def _are_two_dyes(cls, vectors: Vectors) -> Vectors:
        if by_dye(np.asarray(vectors)) is None:
            raise ValueError(f"expected two directions at least {LEAST_ANGLE_DEG:g} degrees apart")
        return vectors

    @classmethod
    @abstractmethod
    def find_vectors(cls, density: NDArray[np.float64]) -> StainVectors | None:
        """Return the directions [2, 3] of the dyes in the densities [P, 3] of stained pixels, or None."""

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Find the dyes of both sites.

        If one site does not show two dyes, both get the vectors of the other one, or those of azure and eosin in
        solution: amounts are then scaled, and hues are kept. The same is done if the vectors of both sites belong to
        different dyes, which implausible colors of the source's cells show (`plausibility`). The extreme directions of
        one site may be nuclei and hemoglobin, and those of the other pale cytoplasm and eosin. `note` then says so.
        """
        check_sites(source, target)
        sites = _Sites.measured(source, target)
        found = {"the target": cls.find_vectors(sites.wanted), "the source": cls.find_vectors(sites.own)}
        alone = {name: vectors for name, vectors in found.items() if vectors is not None} | {"solution": IN_SOLUTION}
        if len(alone) < 3:
            vectors = next(iter(alone.values()))
            return cls._with_dyes(sites, vectors, vectors)
        first = cls._with_dyes(sites, alone["the source"], alone["the target"])
        faults = faults_of(first, source, target)
        if not faults:
            return first
        for name, vectors in alone.items():
            note = f"the dyes found at both sites are different ones ({faults[0]}); those of {name} are used at both"
            fitted = cls._with_dyes(sites, vectors, vectors, note)
            if not faults_of(fitted, source, target):
                return fitted
        return first

    @classmethod
    def _with_dyes(cls, sites: "_Sites", of_source: StainVectors, of_target: StainVectors, note: str = "") -> Self:
        amounts = sites.own @ inverse_of(of_source), sites.wanted @ inverse_of(of_target)
        return cls(
            source_glass=sites.source_glass,
            target_white=sites.target_white,
            source_vectors=(as_rgb(of_source[0]), as_rgb(of_source[1])),
            target_vectors=(as_rgb(of_target[0]), as_rgb(of_target[1])),
            scale=as_rgb(nearest_scale(*amounts, LARGEST_GAIN)),
            note=note,
        )

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image with the target's dyes and empty field."""
        unmixed = inverse_of(np.asarray(self.source_vectors)) * np.asarray(self.scale)
        remixed = unmixed @ completed(np.asarray(self.target_vectors))
        # [level, channel, new channel]: what a level of a channel adds to each new density
        added = levels_density(measured.white)[..., None] * remixed
        if np.abs(added).max() > LARGEST_ADDED:
            density = sum(added[image[..., channel], channel] for channel in range(3))
            return from_density(np.asarray(density), self.target_white)
        return _product(image, (10.0**-added).astype(np.float32), self.target_white)


def _product(image: UInt8Image, passed: NDArray[np.float32], white: Rgb) -> UInt8Image:
    """Return the colors, uint8[H, W, 3], of densities that are sums over the channels, so that the light is a product.

    Args:
        image: RGB uint8[H, W, 3].
        passed: the share of the light of each new channel that a level of a channel lets pass, float32[256, 3, 3].
        white: color of the empty field, 0..255.
    """
    height, width = image.shape[:2]
    rows_of = np.zeros((3, 256, 4), np.float32)  # four numbers: one copy of 16 bytes for each pixel
    rows_of[..., :3] = passed.transpose(1, 0, 2)
    rows_of[0, :, :3] *= np.asarray(white, np.float32)
    levels = np.empty((height, width, 4), np.uint8)
    step = max(1, _BLOCK_PIXELS // width)
    for start in range(0, height, step):
        block = image[start : start + step]
        light = rows_of[0].take(block[..., 0], axis=0)
        for channel in (1, 2):
            light *= rows_of[channel].take(block[..., channel], axis=0)
        np.minimum(light, 255, out=light)  # it is not negative
        levels[start : start + step] = np.rint(light, out=light)
    return without_fourth(levels)


class Macenko(StainSeparation):
    """Replace the two dyes that Macenko's method finds in all stained pixels of a site.

    See `stain_vectors.macenko_vectors`. The vectors are those of the site, since a single cell seldom shows both dyes
    well enough.
    """

    method: Literal["macenko"] = "macenko"

    @classmethod
    def find_vectors(cls, density: NDArray[np.float64]) -> StainVectors | None:
        """Return Macenko's vectors."""
        return macenko_vectors(density)


class Vahadane(StainSeparation):
    """Replace the two dyes that a sparse non-negative factorization finds in all stained pixels of a site.

    See `stain_vectors.vahadane_vectors`.
    """

    method: Literal["vahadane"] = "vahadane"

    @classmethod
    def find_vectors(cls, density: NDArray[np.float64]) -> StainVectors | None:
        """Return Vahadane's vectors."""
        return vahadane_vectors(density)
