"""Stain separation: the two dyes of the image are exchanged for those of the target."""

from abc import abstractmethod
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.measures import as_rgb, from_density, own_density, site_density, site_white
from hemabridge.normalizers.normalizer import Gain, Normalizer, Rgb, check_sites
from hemabridge.normalizers.stain_vectors import (
    StainVectors,
    amounts_of,
    macenko_vectors,
    stained,
    vahadane_vectors,
)

LARGEST_GAIN = 3.0
"""The amount of a dye is multiplied by at most this and divided by at most this."""

FULL_STAIN_PERCENTILE = 99.0

IN_SOLUTION = np.array([[0.87, 0.46, 0.17], [0.08, 0.97, 0.23]])
"""About the optical densities of azure B and of eosin Y in red, green and blue, as unit vectors."""

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Vector: TypeAlias = tuple[Share, Share, Share]
Vectors: TypeAlias = tuple[Vector, Vector]


class StainSeparation(Normalizer):
    """Exchange two dyes: their directions in optical density, and how much of each there is.

    With V the directions of the dyes, the amounts are H = OD pinv(V); each is scaled so that its 99th percentile over
    the site becomes the target's, and what the two dyes do not explain is kept: OD' = OD - H V + (H s) V'. So the map
    is linear in OD, and a site mapped to itself does not change.

    Attributes:
        target_white: colour of the target's empty field, sRGB 0..255.
        source_vectors: directions of azure and eosin at the source, unit vectors in OD of red, green, blue.
        target_vectors: the same at the target.
        scale: factor on the amounts of azure and of eosin.
    """

    target_white: Rgb
    source_vectors: Vectors
    target_vectors: Vectors
    scale: tuple[Gain, Gain]

    @classmethod
    @abstractmethod
    def find_vectors(cls, density: NDArray[np.float64]) -> StainVectors | None:
        """Return the directions [2, 3] of the dyes in the densities [P, 3] of stained pixels, or None."""

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Find the dyes of both sites.

        Where one site does not show two dyes, both get the vectors of the other, or of azure and eosin in solution:
        amounts are scaled then, and no colour is turned.
        """
        check_sites(source, target)
        own, wanted = stained(site_density(source)), stained(site_density(target))
        from_source, from_target = cls.find_vectors(own), cls.find_vectors(wanted)
        if from_source is None or from_target is None:
            known = from_source if from_source is not None else from_target
            from_source = from_target = IN_SOLUTION if known is None else known
        scale = _full_stain(wanted, from_target) / _full_stain(own, from_source)
        azure, eosin = np.clip(scale, 1 / LARGEST_GAIN, LARGEST_GAIN).tolist()
        return cls(
            target_white=site_white(target),
            source_vectors=(as_rgb(from_source[0]), as_rgb(from_source[1])),
            target_vectors=(as_rgb(from_target[0]), as_rgb(from_target[1])),
            scale=(azure, eosin),
        )

    def restain(self, image: UInt8Image) -> UInt8Image:
        """Return the image with the target's dyes and empty field."""
        density = own_density(image)
        own, wanted = np.asarray(self.source_vectors), np.asarray(self.target_vectors)
        amounts = amounts_of(density, own)
        return from_density(density - amounts @ own + (amounts * np.asarray(self.scale)) @ wanted, self.target_white)


class Macenko(StainSeparation):
    """Exchange the two dyes that Macenko's method finds in all stained pixels of a site.

    Its rule is in `stain_vectors.macenko_vectors`. The vectors are those of the site: a single cell seldom shows both
    dyes well enough.
    """

    method: Literal["macenko"] = "macenko"

    @classmethod
    def find_vectors(cls, density: NDArray[np.float64]) -> StainVectors | None:
        """Return Macenko's vectors."""
        return macenko_vectors(density)


class Vahadane(StainSeparation):
    """Exchange the two dyes that a sparse non-negative factorization finds in all stained pixels of a site.

    Its rule is in `stain_vectors.vahadane_vectors`.
    """

    method: Literal["vahadane"] = "vahadane"

    @classmethod
    def find_vectors(cls, density: NDArray[np.float64]) -> StainVectors | None:
        """Return Vahadane's vectors."""
        return vahadane_vectors(density)


def _full_stain(density: NDArray[np.float64], vectors: StainVectors) -> NDArray[np.float64]:
    """Return the 99th percentile of the amount of each dye, float64[2]; 1 where there is no stained pixel."""
    if len(density) == 0:
        return np.ones(2)
    return np.maximum(np.percentile(amounts_of(density, vectors), FULL_STAIN_PERCENTILE, axis=0), 1e-3)
