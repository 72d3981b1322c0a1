"""Which re-stainings and which members take part in an ensemble; decided without labels of the source.

The shape members depend on no re-staining and err on other cells than the color members do. So the re-stainings are
ranked by the color members' soft agreement with the shape members (two views that agree, Blum & Mitchell 1998,
doi:10.1145/279943.279962).
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
"""Re-stainings are ranked on so many images of a subdomain, spread evenly over it, without their mirror images."""

ADABN_DRAWS = 400
"""Batch norm statistics are computed on so many draws of the source's images."""

MOST_RESTAININGS = 4
"""Of those that are ranked, at most so many take part: further ones cost time and change nothing."""

UNRANKED = ("macenko", "vahadane", "linear-ot", "sliced-ot")
"""The normalizers that are tried without shape members: those of the smallest error over many hospitals."""

CANDIDATES = ("white-point", "reinhard-image", "reinhard-site", "histogram", *UNRANKED)
"""The normalizers that are tried where shape members rank them."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """An ensemble, and what its members predict of the source's images.

    Attributes:
        fitted: without target-to-source members.
        color: mean prediction of the color members on each re-staining, float32[N, C] each.
        shape: mean prediction of the shape members, float32[N, C]; None if there are none.
    """

    fitted: FittedEnsemble
    color: tuple[Probabilities, ...]
    shape: Probabilities | None

    def pooled(self) -> Probabilities:
        """Return what the ensemble predicts, float32[N, C]."""
        return self.fitted.pooled(self.color, self.shape)


def suitable_restainings(
    config: EnsembleConfig,
    members: Members,
    source: UInt8Images,
    shape: Probabilities | None,
    fitter: RestainingFitter,
) -> list[Subdomain]:
    """Return the subdomains of the source, each with the re-stainings that suit it, the best first.

    Without shape members there is one subdomain, with all re-stainings that are tried. With a translator, which
    belongs to the whole site, there is one as well.

    Args:
        config: see there.
        members: of the target.
        source: uint8[N, S, S, 3].
        shape: mean prediction of the shape members, float32[N, C]; None without them.
        fitter: fits re-stainings.
    """
    tried = (*(config.restainings or (UNRANKED if shape is None else CANDIDATES)), *fitter.translators)
    if shape is None:
        return [Subdomain(np.arange(len(source)), source, fitter.fit(source, tried))]
    rows = rows_by_subdomain(source, shape, 1 if fitter.translators else config.subdomains)
    subdomains = [Subdomain(own, source[own], fitter.fit(source[own], tried)) for own in rows]
    return [_ranked(config, subdomain, members, shape[subdomain.rows]) for subdomain in subdomains]


def _ranked(config: EnsembleConfig, subdomain: Subdomain, members: Members, shape: Probabilities) -> Subdomain:
    """Keep the re-stainings of a subdomain that agree best with the shape members, the best first."""
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
    """Leave out the shape members, or without these a re-staining, where confidence is too low.

    On blurred images outlines say little, and the shape members are much less confident than the color members.

    Args:
        config: see there.
        fitted: with all members and re-stainings.
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
    """Use batch norm statistics of the source in the shape members if that brings them nearer to the color members.

    Other optics change what is seen of an outline; batch norm statistics of the source may then suit better (AdaBN, Li
    et al. 2018, doi:10.1016/j.patcog.2018.03.005). The gain is the growth of the share of cells of which shape and
    color members predict the same class. Statistics are computed on cells that are drawn so that each class comes about
    equally often, as in training.

    Args:
        predicted: with shape members.
        min_gain: the gain must be larger, -1..1.
        source: uint8[N, S, S, 3].
        rng: of the draws.
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
    """Tell whether a prediction's confidence is at most `max_gap` below the largest of others."""
    return "shape members" in within_gap({**others, "shape members": _confidence(prediction)}, max_gap)
