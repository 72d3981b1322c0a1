"""A source may hold several looks, such as smears on white and on yellow glass: each has re-stainings of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, looks_of, name_of
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.by_subdomain import ByLook
from hemabridge.normalizers.normalizer import Normalizer

OTHER_CELLS = 0.5
"""Looks whose class mixes differ by more than this, in total variation, show other cells and not another glass."""


@dataclass(frozen=True, eq=False)
class Look:
    """Some of a source's images, and what is fitted on them.

    Attributes:
        rows: intp[N], which images they are.
        images: uint8[N, S, S, 3].
        maps: re-stainings by name.
        accord: of each re-staining that was tried with those who see no colour; empty if nobody judged.
    """

    rows: NDArray[np.intp]
    images: UInt8Images
    maps: Mapping[str, Standardizer]
    accord: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The mean colour of its empty field, as #rrggbb."""
        return name_of(fields_of(self.images))


def parted(source: UInt8Images, answer: Probabilities, most: int) -> list[NDArray[np.intp]]:
    """Return the rows of each look of a source.

    Where cells fill the image, what seems to be the empty field is their cytoplasm, and tells classes apart. So looks
    must hold about the same classes; otherwise there is one.

    Args:
        source: uint8[N, S, S, 3], N at least 1.
        answer: what those say who see no colour, float32[N, C].
        most: looks.
    """
    found = looks_of(fields_of(source), most, FEWEST_IMAGES)
    rows = [np.flatnonzero(found == look) for look in np.unique(found)]
    mixes = np.array([answer[own].mean(axis=0, dtype=np.float64) for own in rows])
    apart = np.abs(mixes[:, None] - mixes).sum(axis=2) / 2
    return rows if apart.max() <= OTHER_CELLS else [np.arange(len(source))]


def for_all_looks(looks: Sequence[Look], target: UInt8Images) -> dict[str, Standardizer]:
    """Return re-stainings for images of any of the looks.

    Of several looks, the one with the most re-stainings gives them their names; a look with fewer uses its first again.

    Args:
        looks: at least one; of several, with normalizers of the catalog alone.
        target: images that these were fitted to, uint8[M, S, S, 3].
    """
    if len(looks) == 1:
        return dict(looks[0].maps)
    names: tuple[str, ...] = max((tuple(look.maps) for look in looks), key=len)
    return {
        name: ByLook.of([(look.images, _in_turn(look.maps, place)) for look in looks], target)
        for place, name in enumerate(names)
    }


def accord_by_look(looks: Sequence[Look]) -> dict[str, float]:
    """Return the accord of all re-stainings that were tried; of several looks, each look's."""
    if len(looks) == 1:
        return dict(looks[0].accord)
    return {f"{name} on {look.name}": value for look in looks for name, value in look.accord.items()}


def names_by_look(looks: Sequence[Look]) -> dict[str, tuple[str, ...]]:
    """Return which re-stainings each of several looks has; nothing of one look."""
    return {look.name: tuple(look.maps) for look in looks} if len(looks) > 1 else {}


def _in_turn(maps: Mapping[str, Standardizer], place: int) -> Normalizer:
    found = list(maps.values())[place % len(maps)]
    assert isinstance(found, Normalizer)  # translators belong to the whole site: with one it is not parted
    return found
