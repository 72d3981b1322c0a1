"""Target-to-source stain augmentation: the target's labeled cells, re-stained to the colors of the source.

A classifier that is trained on them predicts from the source's original images. A source site often has several
subdomains, because smears were stained in several batches or photographed with several lamps. Each subdomain gets
re-stainings of its own.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.domain.subdomains import fields_of, subdomains_of
from hemabridge.ensemble.config import TargetToSourceConfig
from hemabridge.ensemble.subdomain_fits import LARGEST_FIT
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.catalog import fit_on_cells

FEWEST_IMAGES = 10
"""Smallest number of images of a subdomain."""

OWN_WEIGHT = 0.5
"""Weight of a subdomain's own class prior in the prior of its fit; the rest is that of the whole site."""


def target_to_source(
    config: TargetToSourceConfig, target: CellSet, source: UInt8Images, prediction: Probabilities, seed: int
) -> CellSet:
    """Return the original target cells, followed by `config.copies` re-stained copies of each.

    For each subdomain and each of `config.restainings` one normalizer is fitted, from target to source. The images of
    the target for this fit are drawn with the class prior that is predicted for the subdomain. No label of the source
    is used.

    Args:
        config: settings of the augmentation.
        target: labeled cells.
        source: unlabeled images, uint8[N, S, S, 3].
        prediction: prediction for the source's images, float32[N, C].
        seed: random seed of the draws.

    Raises:
        InputError: `prediction` is not for these images and classes.
    """
    if prediction.shape != (len(source), len(target.classes)) or not len(source):
        raise InputError(
            f"expected a prediction of {len(target.classes)} classes for each of the source's images, got "
            f"{prediction.shape} for {len(source)} images"
        )
    rng = np.random.default_rng(seed)
    restainings, chances = _restainings(config, target, source, prediction, rng)
    images = [target.images]
    for _ in range(config.copies):
        chosen = rng.choice(len(restainings), len(target), p=chances)
        copy = np.empty_like(target.images)
        for number, standardizer in enumerate(restainings):
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


def _restainings(
    config: TargetToSourceConfig,
    target: CellSet,
    source: UInt8Images,
    prediction: Probabilities,
    rng: np.random.Generator,
) -> tuple[list[Standardizer], NDArray[np.float64]]:
    """Return re-stainings from target to source, and the probability of each.

    The probability is proportional to the square root of a subdomain's share, so that rare ones are not too rare.
    """
    subdomains = subdomains_of(fields_of(source), config.subdomains, FEWEST_IMAGES)
    restainings: list[Standardizer] = []
    chances = []
    for subdomain in np.unique(subdomains).tolist():
        own = subdomains == subdomain
        prior = OWN_WEIGHT * prediction[own].mean(axis=0) + (1 - OWN_WEIGHT) * prediction.mean(axis=0)
        for name in config.restainings:
            drawn = target.images[target.drawn(prior, LARGEST_FIT, rng)]
            restainings.append(fit_on_cells(name, drawn, source[own]))
            chances.append(np.sqrt(own.mean()))
    return restainings, np.array(chances) / np.sum(chances)
