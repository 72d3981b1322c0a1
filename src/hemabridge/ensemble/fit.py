"""Several classifiers and several re-stainings that agree on one answer; chosen and fitted without labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hemabridge.classifiers.adabn import adabn
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.subdomain_fits import (
    Subdomain,
    agreement_by_subdomain,
    for_all_subdomains,
    names_by_subdomain,
    parted,
)
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.soft_agreement import soft_agreement
from hemabridge.normalizers.by_subdomain import MOST_SUBDOMAINS
from hemabridge.normalizers.catalog import check_names, fit_normalizer

LARGEST_FIT = 300
"""So many images of a site are measured: more change nothing but the time."""

JUDGED = 150
"""So many of them, as they are turned, say which re-stainings take part."""

MEASURED = 400
"""On so many draws of them batch norm is measured."""

MOST_RESTAININGS = 4
"""Of those that are judged, so many take part at most: further ones cost time and say the same."""

LEAST_PROBABILITY = 1e-3
"""No family rules a class out by more than this."""

UNJUDGED = ("macenko", "vahadane", "linear-ot", "sliced-ot")
"""Tried where nobody judges them: those that err least on the whole."""

CANDIDATES = ("white-point", "reinhard-image", "reinhard-site", "histogram", *UNJUDGED)
"""Tried where classifiers that need no re-staining judge them."""


class EnsembleConfig(BaseModel):
    """Which re-stainings take part, and how they are fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restainings: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="normalizers of the catalog, of which those take part that suit the source; if not given, eight "
        "where classifiers are asked about the images as they are and can judge, else four",
    )
    max_agreement_gap: float | None = Field(
        0.02,
        ge=0,
        description="a re-staining takes part if its answers are in agreement with those of classifiers that are asked "
        "about the images as they are, at most so much less than those of the one that is most in agreement; without a "
        "bound all take part",
    )
    max_confidence_gap: float | None = Field(
        0.1,
        ge=0,
        description="classifiers that are asked about the images as they are take part if they are, in the mean over "
        "cells, at most so much less sure than the others are of the re-staining that they are surest of; where there "
        "are no such classifiers the same holds for re-stainings; without a bound all take part",
    )
    adabn_min_gain: float | None = Field(
        0.05,
        ge=0,
        description="classifiers that are asked about the images as they are have their batch norm measured again on "
        "these if they then name a share of the cells that is larger by more than this as the others do; never without "
        "a bound",
    )
    subdomains: int = Field(
        3,
        ge=1,
        le=MOST_SUBDOMAINS,
        description="where classifiers are asked about the images as they are, the source's images are parted into at "
        "most so many subdomains by the color of their empty field, if those are clearly apart; each subdomain has "
        "re-stainings of its own",
    )
    prior_rounds: int = Field(
        2, ge=0, description="times that the target's images are drawn in the class mix that the source seems to have"
    )

    @field_validator("restainings")
    @classmethod
    def _check_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return names and check_names(names)


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """The common answer of all classifiers: itself a classifier of the source.

    Some answer on every re-staining that takes part. The direct ones answer on the source's images as they are, because
    they see no color or learned the source's own subdomains. Those who are asked the same way err alike, and are
    averaged; the two families err on different cells, and their means are multiplied: a class that either all but
    rules out is not named (logarithmic opinion pool, Genest & Zidek 1986, doi:10.1214/ss/1177013825). Each family
    weighs as many as it has classifiers.

    Attributes:
        classifiers: those that are asked about re-stained images.
        direct: those that are not.
        adabn: whether the batch norm of `direct` was measured again on the source.
        soft_agreement: of each re-staining that was tried with the direct classifiers
            (`hemabridge.metrics.soft_agreement`), subdomain by subdomain; empty without those.
        subdomains: the re-stainings that suit each subdomain of the source, by the color of its empty field; empty if
            there is one subdomain.
        confidence: for each re-staining that was judged by it, the classifiers' mean largest probability, 0..1.
        class_prior: float64[C], the share of each class that the source seems to have.
    """

    name: str
    classifiers: tuple[Classifier, ...]
    standardizers: Mapping[str, Standardizer]
    confidence: Mapping[str, float] = field(default_factory=dict)
    class_prior: NDArray[np.float64] | None = None
    direct: tuple[Classifier, ...] = ()
    soft_agreement: Mapping[str, float] = field(default_factory=dict)
    adabn: bool = False
    subdomains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.classifiers[0].classes

    def views(self, images: UInt8Images) -> UInt8Images:
        """Return the re-stainings of uint8[N, S, S, 3], uint8[V, N, S, S, 3], in the order of `standardizers`."""
        return np.stack([standardizer.standardize(images) for standardizer in self.standardizers.values()])

    def probabilities(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for square RGB images of the source, uint8[N, S, S, 3]."""
        answers = [
            mean_answer(self.classifiers, standardizer.standardize(images))
            for standardizer in self.standardizers.values()
        ]
        return self.joined(answers, mean_answer(self.direct, images) if self.direct else None)

    def at_home(self, images: UInt8Images) -> Probabilities:
        """Return float32[N, C] for images that need no re-staining, uint8[N, S, S, 3]: those of the target site."""
        return self.joined(
            [mean_answer(self.classifiers, images)], mean_answer(self.direct, images) if self.direct else None
        )

    def joined(self, restained: Sequence[Probabilities], direct: Probabilities | None) -> Probabilities:
        """Return the common answer, float32[N, C].

        Args:
            restained: mean answer of `classifiers` on each re-staining.
            direct: mean answer of the direct ones; None if there are none.
        """
        aided = _mean(restained)
        if direct is None:
            return aided
        share = len(self.direct) / (len(self.classifiers) + len(self.direct))
        logs = [np.log(np.maximum(answer, LEAST_PROBABILITY), dtype=np.float64) for answer in (aided, direct)]
        pooled = np.exp((1 - share) * logs[0] + share * logs[1])
        both: Probabilities = (pooled / pooled.sum(axis=1, keepdims=True)).astype(np.float32)
        return both


def mean_answer(classifiers: Sequence[Classifier], images: UInt8Images) -> Probabilities:
    """Return the mean over classifiers, and over each image and its mirror images, of float32[N, C] probabilities.

    A smear has no up and no left: the image, its two mirror images and its transpose are the same cell.
    """
    turned = (images, images[:, :, ::-1], images[:, ::-1], images.swapaxes(1, 2))
    return _mean([classifier.probabilities(view) for view in turned for classifier in classifiers])


def agree(
    config: EnsembleConfig,
    classifiers: Sequence[Classifier],
    source: UInt8Images,
    target: CellSet,
    *,
    trained: Mapping[str, Standardizer] | None = None,
    direct: Sequence[Classifier] = (),
    seed: int,
    name: str = "ensemble",
) -> FittedEnsemble:
    """Fit the re-stainings, leave out what does not suit the source, and draw the target in the source's class mix.

    A re-staining may turn the cells of one class into another's colors, and leave classifiers as sure as ever. Those
    that see shape alone err on other cells and depend on no re-staining: so those re-stainings take part that are most
    in agreement with them (two views that agree, Blum & Mitchell 1998, doi:10.1145/279943.279962).

    A source may hold several subdomains, such as smears on white and on yellow glass (`hemabridge.domain.subdomains`).
    What suits one may harm another, so each is judged and fitted for itself if there are judges and no translator.

    A normalizer that matches distributions turns cells into those of the target's commonest class if the sites have
    different mixes of classes. So the target's images are drawn in the mix that the steps classifiers see in the
    source, and the normalizers are fitted again.

    Args:
        config: see there.
        classifiers: of the target site, which are asked about re-stained images; with the same classes.
        source: unlabeled images, uint8[N, S, S, 3].
        target: labeled cells that the classifiers were trained on.
        trained: translators, which take part as normalizers do.
        direct: with the same classes, which are asked about the source's images as they are. They judge the
            re-stainings, and answer too unless they are less sure than the others by more than
            `config.max_confidence_gap`: on blurred images outlines say little. Other optics change what they see of an
            outline: then batch norm that is measured again on the source may suit them better (Li et al.
                2018, doi:10.1016/j.patcog.2018.03.005).
        seed: of the draws of target images.
        name: its name in tables.

    Raises:
        InputError: no classifiers, or they have different classes.
    """
    if not classifiers or len({classifier.classes for classifier in (*classifiers, *direct)}) != 1:
        raise InputError("expected at least one classifier, all of the same classes; align them first")
    rng = np.random.default_rng(seed)
    source = source[rng.permutation(len(source))[:LARGEST_FIT]]
    fit = _Fit(target, dict(trained or {}), rng)
    unaided = mean_answer(direct, source) if direct else None
    subdomains = _suited(config, classifiers, source, unaided, fit)
    fitted = FittedEnsemble(
        name,
        tuple(classifiers),
        for_all_subdomains(subdomains, target.images),
        direct=tuple(direct),
        soft_agreement=agreement_by_subdomain(subdomains),
        subdomains=names_by_subdomain(subdomains),
    )
    fitted, answers, unaided = _heard(config, fitted, source, unaided, rng)
    return _in_the_sources_mix(config.prior_rounds, fitted, subdomains, fit, source, answers, unaided)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Fits re-stainings to the target's images, drawn in some mix of classes."""

    target: CellSet
    trained: Mapping[str, Standardizer]
    rng: np.random.Generator

    def maps(
        self, images: UInt8Images, names: Iterable[str], mix: NDArray[np.float64] | None
    ) -> dict[str, Standardizer]:
        """Return what is fitted on `images`, or trained, by name; without a mix each class is drawn equally often."""
        even = np.full(len(self.target.classes), 1.0 / len(self.target.classes))
        drawn = self.target.images[self.target.drawn(even if mix is None else mix, LARGEST_FIT, self.rng)]
        return {n: self.trained[n] if n in self.trained else fit_normalizer(n, images, drawn) for n in names}


def _suited(
    config: EnsembleConfig,
    classifiers: Sequence[Classifier],
    source: UInt8Images,
    unaided: Probabilities | None,
    fit: _Fit,
) -> list[Subdomain]:
    """Return the subdomains of the source with what suits each; without judges one subdomain with all that is tried."""
    if unaided is None:
        rows = np.arange(len(source))
        return [Subdomain(rows, source, fit.maps(source, (*(config.restainings or UNJUDGED), *fit.trained), None))]
    tried = (*(config.restainings or CANDIDATES), *fit.trained)
    parts = parted(source, unaided, 1 if fit.trained else config.subdomains)
    subdomains = [Subdomain(rows, source[rows], fit.maps(source[rows], tried, None)) for rows in parts]
    return [_judged(config, subdomain, classifiers, unaided[subdomain.rows]) for subdomain in subdomains]


def _judged(
    config: EnsembleConfig, subdomain: Subdomain, classifiers: Sequence[Classifier], unaided: Probabilities
) -> Subdomain:
    """Leave out the re-stainings that do not suit a subdomain; the best comes first."""
    found = {}
    for name, standardizer in subdomain.maps.items():
        restained = standardizer.standardize(subdomain.images[:JUDGED])
        answer = _mean([classifier.probabilities(restained) for classifier in classifiers])
        found[name] = soft_agreement(unaided[:JUDGED], answer)
    kept = sorted(most(found, config.max_agreement_gap, MOST_RESTAININGS), key=lambda name: -found[name])
    return replace(subdomain, maps={name: subdomain.maps[name] for name in kept}, soft_agreement=found)


def _in_the_sources_mix(
    rounds: int,
    fitted: FittedEnsemble,
    subdomains: Sequence[Subdomain],
    fit: _Fit,
    source: UInt8Images,
    answers: Sequence[Probabilities],
    unaided: Probabilities | None,
) -> FittedEnsemble:
    """Fit the re-stainings again, `rounds` times, to target images in the mix that all agree on; note that mix."""
    for _ in range(rounds):
        shares = fitted.joined(answers, unaided)
        subdomains = [
            replace(
                subdomain,
                maps=fit.maps(
                    subdomain.images,
                    subdomain.maps if subdomain.soft_agreement else fitted.standardizers,
                    _mix(shares[subdomain.rows]),
                ),
            )
            for subdomain in subdomains
        ]
        fitted = replace(fitted, standardizers=for_all_subdomains(subdomains, fit.target.images))
        answers = [mean_answer(fitted.classifiers, each.standardize(source)) for each in fitted.standardizers.values()]
    return replace(fitted, class_prior=_mix(fitted.joined(answers, unaided)))


def _heard(
    config: EnsembleConfig,
    fitted: FittedEnsemble,
    source: UInt8Images,
    unaided: Probabilities | None,
    rng: np.random.Generator,
) -> tuple[FittedEnsemble, list[Probabilities], Probabilities | None]:
    """Leave out whom or what is not sure: the direct classifiers, or without judges a re-staining.

    Returns:
        What is left, its answers on each re-staining, and those of its direct classifiers.
    """
    restained = {name: each.standardize(source) for name, each in fitted.standardizers.items()}
    answers = {name: mean_answer(fitted.classifiers, images) for name, images in restained.items()}
    confidence = {name: float(answer.max(axis=1).mean()) for name, answer in answers.items()}
    kept = tuple(answers) if fitted.soft_agreement else most(confidence, config.max_confidence_gap)
    left = replace(fitted, standardizers={n: fitted.standardizers[n] for n in kept}, confidence=confidence)
    if unaided is not None and not _as_sure(unaided, confidence, config.max_confidence_gap):
        left, unaided = replace(left, direct=()), None
    elif unaided is not None and config.adabn_min_gain is not None:
        left, unaided = _adabn(config.adabn_min_gain, left, [answers[n] for n in kept], unaided, source, rng)
    return left, [answers[n] for n in kept], unaided


def _adabn(
    least: float,
    fitted: FittedEnsemble,
    answers: Sequence[Probabilities],
    unaided: Probabilities,
    source: UInt8Images,
    rng: np.random.Generator,
) -> tuple[FittedEnsemble, Probabilities]:
    """Measure the direct classifiers' AdaBN if they then name more of the cells as the others do.

    On cells drawn so that each class comes about equally often, as in training: the mix of classes is no optics.

    Returns:
        The ensemble, and what its direct classifiers say.
    """
    shares = fitted.joined(answers, unaided).astype(np.float64)
    weights = (shares / shares.sum(axis=0)).sum(axis=1)
    drawn = source[rng.choice(len(source), MEASURED, p=weights / weights.sum())]
    direct = tuple(adabn(one, drawn) or one for one in fitted.direct)
    adabn_min_gain, aided = mean_answer(direct, source), _mean(answers).argmax(axis=1)
    before, after = (float((one.argmax(axis=1) == aided).mean()) for one in (unaided, adabn_min_gain))
    if after <= before + least:
        return fitted, unaided
    return replace(fitted, direct=direct, adabn=True), adabn_min_gain


def most(values: Mapping[str, float], below: float | None, count: int | None = None) -> tuple[str, ...]:
    """Return the names whose value is at most `below` under the largest, at most `count` of them, in their order."""
    least = -1.0 if below is None else max(values.values()) - below
    largest = sorted(values.values(), reverse=True)[:count]
    return tuple(name for name, value in values.items() if value >= max(least, largest[-1]))


def _as_sure(answer: Probabilities, confidence: Mapping[str, float], max_confidence_gap: float | None) -> bool:
    """Tell whether an answer is at most `max_confidence_gap` less sure than the surest of others."""
    sure = float(answer.max(axis=1).mean())
    return "unaided" in most({**confidence, "unaided": sure}, max_confidence_gap)


def _mix(answer: Probabilities) -> NDArray[np.float64]:
    mix: NDArray[np.float64] = answer.mean(axis=0, dtype=np.float64)
    return mix


def _mean(answers: Sequence[Probabilities]) -> Probabilities:
    mean: Probabilities = np.stack(answers).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
