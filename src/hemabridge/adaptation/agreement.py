"""Several classifiers and several re-stainings that agree on one answer; chosen and fitted without labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hemabridge.classifiers.batch_norm import measured_anew
from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.metrics.accord import accord_of
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


class AgreementConfig(BaseModel):
    """Which re-stainings take part, and how they are fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restainings: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="normalizers of the catalog, of which those take part that suit the source; if not given, eight "
        "where classifiers are asked about the images as they are and can judge, else four",
    )
    discord: float | None = Field(
        0.02,
        ge=0,
        description="a re-staining takes part if its answers are in accord with those of classifiers that are asked "
        "about the images as they are, at most so much less than those of the one that is most in accord; without a "
        "bound all take part",
    )
    doubt: float | None = Field(
        0.1,
        ge=0,
        description="classifiers that are asked about the images as they are take part if they are, in the mean over "
        "cells, at most so much less sure than the others are of the re-staining that they are surest of; where there "
        "are no such classifiers the same holds for re-stainings; without a bound all take part",
    )
    anew: float | None = Field(
        0.05,
        ge=0,
        description="classifiers that are asked about the images as they are have their batch norm measured anew on "
        "these if they then name a share of the cells that is larger by more than this as the others do; never without "
        "a bound",
    )
    mixing_rounds: int = Field(
        2, ge=0, description="times that the target's images are drawn in the class mix that the source seems to have"
    )

    @field_validator("restainings")
    @classmethod
    def _check_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return names and check_names(names)


@dataclass(frozen=True, eq=False)
class Agreement:
    """The common answer of all classifiers: itself a classifier of the source.

    Some answer on every re-staining that takes part. The direct ones answer on the source's images as they are, because
    they see no colour or learned the source's own looks. Those who are asked the same way err alike, and are averaged;
    the two families err on different cells, and their means are multiplied: a class that either all but rules out is
    not named (logarithmic opinion pool, Genest & Zidek 1986, doi:10.1214/ss/1177013825). Each family weighs as many as
    it has classifiers.

    Attributes:
        classifiers: those that are asked about re-stained images.
        direct: those that are not.
        measured_anew: whether the batch norm of `direct` was measured anew on the source.
        accord: of each re-staining that was tried with the direct classifiers (`hemabridge.metrics.accord`); empty
            without those.
        sureness: for each re-staining that was judged by it, the classifiers' mean largest probability, 0..1.
        class_mix: float64[C], the share of each class that the source seems to have.
    """

    name: str
    classifiers: tuple[Classifier, ...]
    standardizers: Mapping[str, Standardizer]
    sureness: Mapping[str, float] = field(default_factory=dict)
    class_mix: NDArray[np.float64] | None = None
    direct: tuple[Classifier, ...] = ()
    accord: Mapping[str, float] = field(default_factory=dict)
    measured_anew: bool = False

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
    config: AgreementConfig,
    classifiers: Sequence[Classifier],
    source: UInt8Images,
    target: CellSet,
    *,
    trained: Mapping[str, Standardizer] | None = None,
    direct: Sequence[Classifier] = (),
    seed: int,
    name: str = "agreement",
) -> Agreement:
    """Fit the re-stainings, leave out what does not suit the source, and draw the target in the source's class mix.

    A re-staining may turn the cells of one class into another's colours, and leave classifiers as sure as ever. Those
    that see shape alone err on other cells and depend on no re-staining: so those re-stainings take part that are most
    in accord with them (two views that agree, Blum & Mitchell 1998, doi:10.1145/279943.279962).

    A normalizer that matches distributions turns cells into those of the target's commonest class if the sites have
    different mixes of classes. So the target's images are drawn in the mix that the agreeing classifiers see in the
    source, and the normalizers are fitted again.

    Args:
        config: see there.
        classifiers: of the target site, which are asked about re-stained images; with the same classes.
        source: unlabelled images, uint8[N, S, S, 3].
        target: labelled cells that the classifiers were trained on.
        trained: translators, which take part as normalizers do.
        direct: with the same classes, which are asked about the source's images as they are. They judge the
            re-stainings, and answer too unless they are less sure than the others by more than `config.doubt`: on
            blurred images outlines say little. Other optics change what they see of an outline: then batch norm that
            is measured anew on the source may suit them better (Li et al. 2018, doi:10.1016/j.patcog.2018.03.005).
        seed: of the draws of target images.
        name: its name in tables.

    Raises:
        InputError: no classifiers, or they have different classes.
    """
    if not classifiers or len({classifier.classes for classifier in (*classifiers, *direct)}) != 1:
        raise InputError("expected at least one classifier, all of the same classes; align them first")
    rng = np.random.default_rng(seed)
    source = source[rng.permutation(len(source))[:LARGEST_FIT]]
    known = dict(trained or {})

    def fitted(names: Sequence[str], mix: NDArray[np.float64]) -> dict[str, Standardizer]:
        drawn = target.images[target.drawn(mix, LARGEST_FIT, rng)]
        return {n: known[n] if n in known else fit_normalizer(n, source, drawn) for n in names}

    tried = config.restainings or (CANDIDATES if direct else UNJUDGED)
    found = fitted((*tried, *known), np.full(len(target.classes), 1.0 / len(target.classes)))
    tried_out = Agreement(name, tuple(classifiers), found, direct=tuple(direct))
    agreed, answers, unaided = _suited(config, tried_out, source, rng)
    mix = _mix(agreed.joined(answers, unaided))
    for _ in range(config.mixing_rounds):
        agreed = replace(agreed, standardizers=fitted(tuple(agreed.standardizers), mix))
        answered = [mean_answer(classifiers, each.standardize(source)) for each in agreed.standardizers.values()]
        mix = _mix(agreed.joined(answered, unaided))
    return replace(agreed, class_mix=mix)


def _suited(
    config: AgreementConfig, tried: Agreement, source: UInt8Images, rng: np.random.Generator
) -> tuple[Agreement, list[Probabilities], Probabilities | None]:
    """Leave out the re-stainings that do not suit the source, and the direct classifiers if they are not sure.

    Returns:
        What is left, its answers on each re-staining, and those of its direct classifiers.
    """
    unaided = mean_answer(tried.direct, source) if tried.direct else None
    accord = {} if unaided is None else _accords(tried, source, unaided)
    judged = most(accord, config.discord, MOST_RESTAININGS) if accord else tuple(tried.standardizers)
    answers = {n: mean_answer(tried.classifiers, tried.standardizers[n].standardize(source)) for n in judged}
    sureness = {n: float(answer.max(axis=1).mean()) for n, answer in answers.items()}
    kept = judged if accord else most(sureness, config.doubt)
    left = replace(tried, standardizers={n: tried.standardizers[n] for n in kept}, sureness=sureness, accord=accord)
    if unaided is not None and not _as_sure(unaided, sureness, config.doubt):
        left, unaided = replace(left, direct=()), None
    elif unaided is not None and config.anew is not None:
        left, unaided = _measured_anew(config.anew, left, [answers[n] for n in kept], unaided, source, rng)
    return left, [answers[n] for n in kept], unaided


def _measured_anew(
    least: float,
    agreed: Agreement,
    answers: Sequence[Probabilities],
    unaided: Probabilities,
    source: UInt8Images,
    rng: np.random.Generator,
) -> tuple[Agreement, Probabilities]:
    """Measure the direct classifiers' batch norm anew if they then name more of the cells as the others do.

    On cells drawn so that each class comes about equally often, as in training: the mix of classes is no optics.

    Returns:
        The agreement, and what its direct classifiers say.
    """
    shares = agreed.joined(answers, unaided).astype(np.float64)
    weights = (shares / shares.sum(axis=0)).sum(axis=1)
    drawn = source[rng.choice(len(source), MEASURED, p=weights / weights.sum())]
    direct = tuple(measured_anew(one, drawn) or one for one in agreed.direct)
    anew, aided = mean_answer(direct, source), _mean(answers).argmax(axis=1)
    before, after = (float((one.argmax(axis=1) == aided).mean()) for one in (unaided, anew))
    if after <= before + least:
        return agreed, unaided
    return replace(agreed, direct=direct, measured_anew=True), anew


def _accords(tried: Agreement, source: UInt8Images, unaided: Probabilities) -> dict[str, float]:
    found = {}
    for name, standardizer in tried.standardizers.items():
        restained = standardizer.standardize(source[:JUDGED])
        answer = _mean([classifier.probabilities(restained) for classifier in tried.classifiers])
        found[name] = accord_of(unaided[:JUDGED], answer)
    return found


def most(values: Mapping[str, float], below: float | None, count: int | None = None) -> tuple[str, ...]:
    """Return the names whose value is at most `below` under the largest, at most `count` of them, in their order."""
    least = -1.0 if below is None else max(values.values()) - below
    largest = sorted(values.values(), reverse=True)[:count]
    return tuple(name for name, value in values.items() if value >= max(least, largest[-1]))


def _as_sure(answer: Probabilities, sureness: Mapping[str, float], doubt: float | None) -> bool:
    """Tell whether an answer is at most `doubt` less sure than the surest of others."""
    sure = float(answer.max(axis=1).mean())
    return "unaided" in most({**sureness, "unaided": sure}, doubt)


def _mix(answer: Probabilities) -> NDArray[np.float64]:
    mix: NDArray[np.float64] = answer.mean(axis=0, dtype=np.float64)
    return mix


def _mean(answers: Sequence[Probabilities]) -> Probabilities:
    mean: Probabilities = np.stack(answers).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
