"""Re-stainings of a source with several subdomains, such as smears on white and on yellow glass.

Each subdomain gets re-stainings of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, name_of, subdomains_of
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.normalizers.normalizer import Normalizer

LARGEST_FIT = 300
"""Largest number of images of a site on which a re-staining is fitted; more only take time."""

OTHER_CLASSES = 0.5
"""Clusters whose class priors differ by more than this, in total variation, differ in their classes, not in their
glass."""


@dataclass(frozen=True, eq=False)
class RestainingFitter:
    """Fits re-stainings to images of the target, which are drawn with a given class prior.

    Attributes:
        target: labeled cells.
        translators: re-stainings that are trained already, by name.
        rng: random generator of the draws.
        left_out: normalizers that are not used since they make implausible colors, and those colors; filled by `fit`.
    """

    target: CellSet
    translators: Mapping[str, Standardizer]
    rng: np.random.Generator
    left_out: dict[str, str] = field(default_factory=dict)

    def fit(
        self, images: UInt8Images, names: Iterable[str], class_prior: NDArray[np.float64] | None = None
    ) -> dict[str, Standardizer]:
        """Return re-stainings by name: normalizers that are fitted to the images, and translators.

        Normalizers with `faults` are left out, unless all have faults.

        Args:
            images: images of the source, uint8[N, S, S, 3].
            names: names of normalizers of the catalog, or of translators.
            class_prior: class prior of the target's images, float64[C]; None: equal shares.
        """
        classes = len(self.target.classes)
        prior = np.full(classes, 1.0 / classes) if class_prior is None else class_prior
        drawn = self.target.images[self.target.drawn(prior, LARGEST_FIT, self.rng)]
        fitted = {
            name: self.translators[name] if name in self.translators else fit_on_cells(name, images, drawn)
            for name in names
        }
        faults = {
            name: "; ".join(each.faults)
            for name, each in fitted.items()
            if isinstance(each, Normalizer) and each.faults
        }
        if len(faults) == len(fitted):
            return fitted
        self.left_out.update(faults)
        return {name: each for name, each in fitted.items() if name not in faults}


@dataclass(frozen=True, eq=False)
class Subdomain:
    """Images of one subdomain of a source, and its re-stainings.

    Attributes:
        rows: intp[N], the rows of these images in the source.
        images: uint8[N, S, S, 3].
        restainings: by name.
        soft_agreement: soft agreement of each re-staining that was tried with the shape members; empty without these.
    """

    rows: NDArray[np.intp]
    images: UInt8Images
    restainings: Mapping[str, Standardizer]
    soft_agreement: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The mean color of its empty field, as #rrggbb."""
        return name_of(fields_of(self.images))


def rows_by_subdomain(source: UInt8Images, prediction: Probabilities, most: int) -> list[NDArray[np.intp]]:
    """Return the rows of each subdomain of a source.

    In images that a cell fills, the apparent empty field is cytoplasm, whose color differs between classes. Subdomains
    must therefore have similar class priors; otherwise the source is one subdomain.

    Args:
        source: uint8[N, S, S, 3], N at least 1.
        prediction: prediction of the shape members, float32[N, C].
        most: largest number of subdomains.
    """
    found = subdomains_of(fields_of(source), most, FEWEST_IMAGES)
    rows = [np.flatnonzero(found == subdomain) for subdomain in np.unique(found)]
    priors = np.array([prediction[own].mean(axis=0, dtype=np.float64) for own in rows])
    total_variation = np.abs(priors[:, None] - priors).sum(axis=2) / 2
    return rows if total_variation.max() <= OTHER_CLASSES else [np.arange(len(source))]


def for_all_subdomains(subdomains: Sequence[Subdomain], target: UInt8Images) -> dict[str, Standardizer]:
    """Return re-stainings for images of any of the subdomains.

    Their names are those of the subdomain with the most re-stainings. A subdomain with fewer re-stainings repeats its
    first ones.

    Args:
        subdomains: at least one; if there are several, all their re-stainings are normalizers.
        target: the images to which these were fitted, uint8[M, S, S, 3].
    """
    if len(subdomains) == 1:
        return dict(subdomains[0].restainings)
    names: tuple[str, ...] = max((tuple(subdomain.restainings) for subdomain in subdomains), key=len)
    return {
        name: BySubdomain.of([(each.images, _in_turn(each.restainings, place)) for each in subdomains], target)
        for place, name in enumerate(names)
    }


def agreement_by_subdomain(subdomains: Sequence[Subdomain]) -> dict[str, float]:
    """Return the soft agreement of all re-stainings that were tried, for each subdomain if there are several."""
    if len(subdomains) == 1:
        return dict(subdomains[0].soft_agreement)
    return {f"{name} on {each.name}": value for each in subdomains for name, value in each.soft_agreement.items()}


def restainings_by_subdomain(subdomains: Sequence[Subdomain]) -> dict[str, tuple[str, ...]]:
    """Return the names of each subdomain's re-stainings; empty if there is one subdomain."""
    return {each.name: tuple(each.restainings) for each in subdomains} if len(subdomains) > 1 else {}


def _in_turn(restainings: Mapping[str, Standardizer], place: int) -> Normalizer:
    found = list(restainings.values())[place % len(restainings)]
    assert isinstance(found, Normalizer)  # a source is not divided where a translator takes part
    return found
