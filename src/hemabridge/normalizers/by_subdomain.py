"""One normalizer for each subdomain of a site; the color of the empty field decides which one re-stains an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from hemabridge.domain.site_profile import profiles_of
from hemabridge.domain.subdomains import fields_of, nearest_field
from hemabridge.errors import InputError
from hemabridge.imaging.color import lab_to_rgb, rgb_to_lab
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.normalizers.density_scaling import DensityScaling
from hemabridge.normalizers.histogram import HistogramMatching
from hemabridge.normalizers.levels import Rgb, as_rgb
from hemabridge.normalizers.linear_transport import LinearTransport
from hemabridge.normalizers.normalizer import CellScale, Measured, Normalizer
from hemabridge.normalizers.reinhard import ReinhardImage, ReinhardSite
from hemabridge.normalizers.reinhard_compartment import ReinhardCompartment
from hemabridge.normalizers.sliced_transport import SlicedTransport
from hemabridge.normalizers.stain_separation import Macenko, Vahadane
from hemabridge.normalizers.white_point import WhitePoint

OfOneSubdomain: TypeAlias = (
    WhitePoint
    | DensityScaling
    | ReinhardImage
    | ReinhardSite
    | ReinhardCompartment
    | HistogramMatching
    | Macenko
    | Vahadane
    | LinearTransport
    | SlicedTransport
)
"""The normalizers of the catalog, which are fitted on two sets of images."""


MOST_SUBDOMAINS: Final = 6
"""So many of the largest normalizers stay within the limit of `MAX_JSON_CHARACTERS`."""


@dataclass(frozen=True)
class MeasuredSubdomain(Measured):
    """The normalizer of an image's subdomain, and its measurements."""

    normalizer: Normalizer
    by_it: Measured


class BySubdomain(Normalizer):
    """A normalizer for a site with several subdomains (`hemabridge.domain.subdomains`).

    Attributes:
        fields: color of the empty field of each subdomain, sRGB 0..255.
        normalizers: one for each subdomain, fitted on its images.
    """

    method: Literal["by-subdomain"] = "by-subdomain"
    fields: tuple[Rgb, ...] = Field(min_length=1, max_length=MOST_SUBDOMAINS)
    normalizers: tuple[Annotated[OfOneSubdomain, Field(discriminator="method")], ...]

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if len(self.fields) != len(self.normalizers):
            raise ValueError(
                f"expected a normalizer for each of {len(self.fields)} subdomains, got {len(self.normalizers)}"
            )
        return self

    @classmethod
    def fit(cls, source: UInt8Images, target: UInt8Images) -> Self:
        """Raise an error: the normalizer of each subdomain has to be chosen first.

        Raises:
            InputError: always.
        """
        raise InputError(
            "expected normalizers that a study chose for each subdomain of a site, got two sets of images; "
            "add [ensemble] to the recipe of a study, or run hemabridge fit METHOD SOURCE TARGET OUT --each-subdomain"
        )

    @classmethod
    def of(
        cls, subdomains: Sequence[tuple[UInt8Images, Normalizer]], target: UInt8Images, cells: CellScale | None = None
    ) -> Self:
        """Combine normalizers that were each fitted on one subdomain.

        Args:
            subdomains: the images of each subdomain, uint8[N, H, W, 3], and its normalizer, from the catalog.
            target: images of the target, uint8[M, H', W', 3], for the profiles of the sites.
            cells: the size of the cells in the files of both sites, as in `fit_on_cells`.

        Raises:
            InputError: a normalizer is not from the catalog.
        """
        own = [one.model_copy(update={"sites": None}) for _, one in subdomains if isinstance(one, OfOneSubdomain)]
        if len(own) < len(subdomains):
            raise InputError("expected one normalizer of the catalog for each subdomain, got another one")
        crops = (None, None) if cells is None else (cells.source_crop_px, cells.target_crop_px)
        fields = [lab_to_rgb(fields_of(images).mean(axis=0)) for images, _ in subdomains]
        return cls(
            fields=tuple(as_rgb(field) for field in fields),
            normalizers=tuple(own),
            sites=profiles_of(np.concatenate([images for images, _ in subdomains]), target, *crops),
            cells=cells,
        )

    @property
    def is_pointwise(self) -> bool:
        """Whether the normalizers of all subdomains are pointwise."""
        return all(own.is_pointwise for own in self.normalizers)

    def measure(self, square: UInt8Image) -> MeasuredSubdomain:
        """Find the subdomain of an image, and measure what its normalizer needs."""
        fields = rgb_to_lab(np.array(self.fields)[:, None].round().astype(np.uint8))[:, 0]
        nearest = int(nearest_field(fields_of(square[None]), fields.astype(np.float64))[0])
        own: Normalizer = self.normalizers[nearest]
        measured = own.measure(square)
        return MeasuredSubdomain(measured.white, measured.shows_glass, own, measured)

    def apply(self, image: UInt8Image, measured: Measured) -> UInt8Image:
        """Return the image, re-stained by the normalizer of its subdomain."""
        assert isinstance(measured, MeasuredSubdomain)
        return measured.normalizer.apply(image, measured.by_it)
