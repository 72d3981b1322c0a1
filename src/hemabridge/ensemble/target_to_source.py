"""The target's labeled cells in the subdomains of the source: what a classifier learns from that is to read the source.

The other direction of re-staining. A source site often shows more than one subdomain, because smears were stained in
several batches or photographed under several lamps; each subdomain is met for itself.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.domain.subdomains import fields_of, subdomains_of
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.catalog import check_names, fit_normalizer

FEWEST_IMAGES = 10
"""A subdomain is measured on no fewer images than this."""

LARGEST_FIT = 300
"""So many images of the target are measured for a subdomain."""

OWN_SHARE = 0.5
"""Share of a subdomain's own class mix in the mix that its re-staining is fitted in; the rest is the whole site's."""


class TargetToSourceConfig(BaseModel):
    """How many subdomains a site may have, and how the target's cells get them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restainings: tuple[str, ...] = Field(
        ("linear-ot", "sliced-ot", "macenko", "vahadane"), min_length=1, description="normalizers of the catalog"
    )
    subdomains: int = Field(
        3, ge=1, le=20, description="the source's images are parted into at most so many subdomains"
    )
    copies: int = Field(3, ge=1, le=20, description="subdomains in which each target cell is shown, beside its own")

    @field_validator("restainings")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(names)


def target_to_source(
    config: TargetToSourceConfig, target: CellSet, source: UInt8Images, answer: Probabilities, seed: int
) -> CellSet:
    """Return the target's cells in their own subdomain, and in `config.copies` subdomains of the source each.

    For each subdomain and each of `config.restainings` one normalizer is fitted, from target to source. What it is
    fitted on of the target has the class mix that the source's images are pseudo_labels to have: no label of the
    source is used.

    Args:
        config: see there.
        target: labeled cells.
        source: unlabeled images, uint8[N, S, S, 3].
        answer: what classes they are pseudo_labels to be of, float32[N, C].
        seed: of draws.

    Raises:
        InputError: `answer` is not about these images or these classes.
    """
    if answer.shape != (len(source), len(target.classes)) or not len(source):
        raise InputError(
            f"expected one answer for each of the source's images about {len(target.classes)} classes, got "
            f"{answer.shape} for {len(source)} images"
        )
    rng = np.random.default_rng(seed)
    maps, shares = _maps(config, target, source, answer, rng)
    images = [target.images]
    for _ in range(config.copies):
        chosen = rng.choice(len(maps), len(target), p=shares)
        copy = np.empty_like(target.images)
        for number, standardizer in enumerate(maps):
            if (chosen == number).any():
                copy[chosen == number] = standardizer.standardize(target.images[chosen == number])
        images.append(copy)
    times = config.copies + 1
    return replace(
        target,
        images=np.concatenate(images),
        labels=np.tile(target.labels, times),
        ids=target.ids * times,
        hashes=target.hashes * times,
    )


def _maps(
    config: TargetToSourceConfig,
    target: CellSet,
    source: UInt8Images,
    answer: Probabilities,
    rng: np.random.Generator,
) -> tuple[list[Standardizer], NDArray[np.float64]]:
    """Return the maps from target to source, and how often each is used: rare subdomains more often than they occur."""
    subdomains = subdomains_of(fields_of(source), config.subdomains, FEWEST_IMAGES)
    maps: list[Standardizer] = []
    shares = []
    for subdomain in np.unique(subdomains).tolist():
        own = subdomains == subdomain
        mix = OWN_SHARE * answer[own].mean(axis=0) + (1 - OWN_SHARE) * answer.mean(axis=0)
        for name in config.restainings:
            drawn = target.images[target.drawn(mix, LARGEST_FIT, rng)]
            maps.append(fit_normalizer(name, drawn, source[own]))
            shares.append(np.sqrt(own.mean()))
    return maps, np.array(shares) / np.sum(shares)
