"""A source may hold several subdomains, such as smears on white and yellow glass: each has re-stainings of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, name_of, subdomains_of
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.normalizer import Normalizer

OTHER_CELLS = 0.5
"""Looks whose class mixes differ by more than this, in total variation, show other cells and not another glass."""


@dataclass(frozen=True, eq=False)
class Subdomain:
    """Some of a source's images, and what is fitted on them.

    Attributes:
        rows: intp[N], which images they are.
        images: uint8[N, S, S, 3].
        maps: re-stainings by name.
        soft_agreement: of each re-staining that was tried with those who see no color; empty if nobody judged.
    """

    rows: NDArray[np.intp]
    images: UInt8Images
    maps: Mapping[str, Standardizer]
    soft_agreement: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The mean color of its empty field, as #rrggbb."""
        return name_of(fields_of(self.images))


def parted(source: UInt8Images, answer: Probabilities, most: int) -> list[NDArray[np.intp]]:
    """Return the rows of each subdomain of a source.

    Where cells fill the image, what seems to be the empty field is their cytoplasm, and tells classes apart. So
    subdomains must hold about the same classes; otherwise there is one.

    Args:
        source: uint8[N, S, S, 3], N at least 1.
        answer: what those say who see no color, float32[N, C].
        most: subdomains.
    """
    found = subdomains_of(fields_of(source), most, FEWEST_IMAGES)
    rows = [np.flatnonzero(found == subdomain) for subdomain in np.unique(found)]
    mixes = np.array([answer[own].mean(axis=0, dtype=np.float64) for own in rows])
    apart = np.abs(mixes[:, None] - mixes).sum(axis=2) / 2
    return rows if apart.max() <= OTHER_CELLS else [np.arange(len(source))]


def for_all_subdomains(subdomains: Sequence[Subdomain], target: UInt8Images) -> dict[str, Standardizer]:
    """Return re-stainings for images of any of the subdomains.

    Of several subdomains, the one with the most re-stainings gives them their names; a subdomain with fewer uses its
    first again.

    Args:
        subdomains: at least one; of several, with normalizers of the catalog alone.
        target: images that these were fitted to, uint8[M, S, S, 3].
    """
    if len(subdomains) == 1:
        return dict(subdomains[0].maps)
    names: tuple[str, ...] = max((tuple(subdomain.maps) for subdomain in subdomains), key=len)
    return {
        name: BySubdomain.of([(subdomain.images, _in_turn(subdomain.maps, place)) for subdomain in subdomains], target)
        for place, name in enumerate(names)
    }


def agreement_by_subdomain(subdomains: Sequence[Subdomain]) -> dict[str, float]:
    """Return the soft agreement of all re-stainings that were tried; of several subdomains, each subdomain's."""
    if len(subdomains) == 1:
        return dict(subdomains[0].soft_agreement)
    return {
        f"{name} on {subdomain.name}": value
        for subdomain in subdomains
        for name, value in subdomain.soft_agreement.items()
    }


def names_by_subdomain(subdomains: Sequence[Subdomain]) -> dict[str, tuple[str, ...]]:
    """Return which re-stainings each of several subdomains has; nothing of one subdomain."""
    return {subdomain.name: tuple(subdomain.maps) for subdomain in subdomains} if len(subdomains) > 1 else {}


def _in_turn(maps: Mapping[str, Standardizer], place: int) -> Normalizer:
    found = list(maps.values())[place % len(maps)]
    assert isinstance(found, Normalizer)  # translators belong to the whole site: with one it is not parted
    return found
