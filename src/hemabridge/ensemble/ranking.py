"""The choice of re-stainings and members of an ensemble, without labels of the source.

The shape members do not depend on a re-staining, and their errors are on other cells than those of the color members.
The re-stainings are therefore ranked by the color members' soft agreement with the shape members (co-training with two
views, Blum & Mitchell 1998, doi:10.1145/279943.279962).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hemabridge.classifiers.adabn import adabn
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.data.sampling import evenly_spaced
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import Members, classifiers_of
from hemabridge.ensemble.pooling import mean_of, mean_prediction
from hemabridge.ensemble.subdomain_fits import RestainingFitter, Subdomain, rows_by_subdomain
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.soft_agreement import soft_agreement

RANKED_IMAGES = 150
"""Images of a subdomain on which re-stainings are ranked, spread evenly over it, without their mirror images."""

ADABN_DRAWS = 400
"""Draws of the source's images from which batch norm statistics are computed."""

MOST_RESTAININGS = 4
"""Largest number of ranked re-stainings that are used; more take time and do not change the accuracy."""

UNRANKED = ("macenko", "vahadane", "linear-ot", "sliced-ot")
"""The normalizers without shape members: those with the smallest error over many hospitals."""

CANDIDATES = ("white-point", "reinhard-image", "reinhard-site", "histogram", *UNRANKED)
"""The normalizers that are tried if shape members rank them."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """An ensemble, and the predictions of its members for the source's images.

    Attributes:
        fitted: the ensemble without target-to-source members.
        color: mean prediction of the color members on each re-staining, float32[N, C] each.
        shape: mean prediction of the shape members, float32[N, C]; None if there are none.
    """

    fitted: FittedEnsemble
    color: tuple[Probabilities, ...]
    shape: Probabilities | None

    def pooled(self) -> Probabilities:
        """Return the ensemble's prediction, float32[N, C]."""
        return self.fitted.pooled(self.color, self.shape)


def suitable_restainings(
    config: EnsembleConfig,
    members: Members,
    source: UInt8Images,
    shape: Probabilities | None,
    fitter: RestainingFitter,
) -> list[Subdomain]:
    """Return the subdomains of the source, each with its re-stainings, the best one first.

    There is one subdomain if there are no shape members, with all re-stainings that are tried, or if there is a
    translator, which is trained for the whole site.

    Args:
        config: settings of the ensemble.
        members: classifiers of the target.
        source: uint8[N, S, S, 3].
        shape: mean prediction of the shape members, float32[N, C]; None without them.
        fitter: fits the re-stainings.
    """
    tried = (*(config.restainings or (UNRANKED if shape is None else CANDIDATES)), *fitter.translators)
    if shape is None:
        return [Subdomain(np.arange(len(source)), source, fitter.fit(source, tried))]
    rows = rows_by_subdomain(source, shape, 1 if fitter.translators else config.subdomains)
    subdomains = [Subdomain(own, source[own], fitter.fit(source[own], tried)) for own in rows]
    return [_ranked(config, subdomain, members, shape[subdomain.rows]) for subdomain in subdomains]


def _ranked(config: EnsembleConfig, subdomain: Subdomain, members: Members, shape: Probabilities) -> Subdomain:
    """Keep the re-stainings of a subdomain with the largest soft agreement, the best one first."""
    found = {}
    some = evenly_spaced(len(subdomain.images), RANKED_IMAGES)
    images, expected = subdomain.images[some], shape[some]
    for name, standardizer in subdomain.restainings.items():
        restained = standardizer.standardize(images)
        color = mean_of([classifier.probabilities(restained) for classifier in classifiers_of(members.color)])
        found[name] = soft_agreement(expected, color)
    kept = sorted(within_gap(found, config.max_agreement_gap, MOST_RESTAININGS), key=lambda name: -found[name])
    return replace(subdomain, restainings={name: subdomain.restainings[name] for name in kept}, soft_agreement=found)


def drop_unconfident(
    config: EnsembleConfig, fitted: FittedEnsemble, source: UInt8Images, shape: Probabilities | None
) -> Predicted:
    """Leave out the shape members if their confidence is too low; without shape members, each such re-staining.

    On blurred images outlines carry little information, and the shape members are much less confident than the color
    members.

    Args:
        config: settings of the ensemble.
        fitted: the ensemble with all members and re-stainings.
        source: uint8[N, S, S, 3].
        shape: mean prediction of the shape members, float32[N, C]; None without them.
    """
    restained = {name: each.standardize(source) for name, each in fitted.restainings.items()}
    color = {name: fitted.predict_color(images) for name, images in restained.items()}
    confidence = {name: _confidence(prediction) for name, prediction in color.items()}
    kept = tuple(color) if fitted.soft_agreement else within_gap(confidence, config.max_confidence_gap)
    left = replace(fitted, restainings={name: fitted.restainings[name] for name in kept}, confidence=confidence)
    if shape is not None and not _confident(shape, confidence, config.max_confidence_gap):
        left, shape = replace(left, shape_members=()), None
    return Predicted(left, tuple(color[name] for name in kept), shape)


def with_adabn(predicted: Predicted, min_gain: float, source: UInt8Images, rng: np.random.Generator) -> Predicted:
    """Use batch norm statistics of the source in the shape members if they then agree more with the color members.

    Other optics change the appearance of outlines, so that batch norm statistics of the source may be better (AdaBN, Li
    et al. 2018, doi:10.1016/j.patcog.2018.03.005). The gain is the growth of the share of cells for which shape and
    color members predict the same class. The statistics are computed on cells that are drawn so that each class is
    about equally frequent, as in training.

    Args:
        predicted: an ensemble with shape members.
        min_gain: the gain must be larger than this, -1..1.
        source: uint8[N, S, S, 3].
        rng: random generator of the draws.
    """
    fitted, shape = predicted.fitted, predicted.shape
    assert shape is not None
    probabilities = predicted.pooled().astype(np.float64)
    weights = (probabilities / probabilities.sum(axis=0)).sum(axis=1)
    drawn = source[rng.choice(len(source), ADABN_DRAWS, p=weights / weights.sum())]
    members = tuple(
        replace(member, classifier=adabn(member.classifier, drawn) or member.classifier)
        for member in fitted.shape_members
    )
    adapted, classes = mean_prediction(classifiers_of(members), source), mean_of(predicted.color).argmax(axis=1)
    before, after = (float((each.argmax(axis=1) == classes).mean()) for each in (shape, adapted))
    if after <= before + min_gain:
        return predicted
    return replace(predicted, fitted=replace(fitted, shape_members=members, adabn=True), shape=adapted)


def within_gap(values: Mapping[str, float], gap: float | None, count: int | None = None) -> tuple[str, ...]:
    """Return the names whose value is at most `gap` below the largest, at most `count` of them, in their order."""
    least = -1.0 if gap is None else max(values.values()) - gap
    largest = sorted(values.values(), reverse=True)[:count]
    return tuple(name for name, value in values.items() if value >= max(least, largest[-1]))


def _confidence(prediction: Probabilities) -> float:
    return float(prediction.max(axis=1).mean())


def _confident(prediction: Probabilities, others: Mapping[str, float], max_gap: float | None) -> bool:
    """Return whether a prediction's confidence is at most `max_gap` below the largest of others."""
    return "shape members" in within_gap({**others, "shape members": _confidence(prediction)}, max_gap)
