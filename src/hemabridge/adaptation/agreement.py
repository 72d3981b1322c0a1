"""Several classifiers and several re-stainings that agree on one answer; chosen and fitted without labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hemabridge.classifiers.protocol import Classifier, Probabilities
from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.catalog import check_names, fit_normalizer

LARGEST_FIT = 300
"""So many images of a site are measured: more change nothing but the time."""


class AgreementConfig(BaseModel):
    """Which re-stainings take part, and how they are fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    restainings: tuple[str, ...] = Field(
        ("linear-ot", "sliced-ot", "macenko", "vahadane"), min_length=1, description="normalizers of the catalog"
    )
    doubt: float | None = Field(
        0.1,
        ge=0,
        description="a re-staining takes part if the classifiers are, in the mean over cells, at most so much less "
        "sure of it than of the one they are surest of, and so do the classifiers that are asked about the images as "
        "they are; without a bound all take part",
    )
    mixing_rounds: int = Field(
        2, ge=0, description="times that the target's images are drawn in the class mix that the source seems to have"
    )

    @field_validator("restainings")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(names)


@dataclass(frozen=True, eq=False)
class Agreement:
    """The mean answer of all classifiers: itself a classifier of the source.

    Some answer on every re-staining that takes part. The direct ones answer on the source's images as they are, because
    they see no colour or learned the source's own looks. Each classifier's answer weighs the same.

    Attributes:
        classifiers: those that are asked about re-stained images.
        direct: those that are not.
        sureness: for each re-staining that was tried, the classifiers' mean largest probability, 0..1.
        class_mix: float64[C], the share of each class that the source seems to have.
    """

    name: str
    classifiers: tuple[Classifier, ...]
    standardizers: Mapping[str, Standardizer]
    sureness: Mapping[str, float] = field(default_factory=dict)
    class_mix: NDArray[np.float64] | None = None
    direct: tuple[Classifier, ...] = ()

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
        return mean_answer((*self.classifiers, *self.direct), images)

    def joined(self, restained: Sequence[Probabilities], direct: Probabilities | None) -> Probabilities:
        """Return the common answer, float32[N, C].

        Args:
            restained: mean answer of `classifiers` on each re-staining.
            direct: mean answer of the direct ones; None if there are none.
        """
        aided = _mean(restained)
        if direct is None:
            return aided
        share = np.float32(len(self.direct) / (len(self.classifiers) + len(self.direct)))
        both: Probabilities = (1 - share) * aided + share * direct
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
    """Fit the re-stainings, leave out what classifiers doubt, and draw the target in the source's class mix.

    A normalizer that matches distributions turns cells into those of the target's commonest class if the sites have
    different mixes of classes. So the target's images are drawn in the mix that the agreeing classifiers see in the
    source, and the normalizers are fitted again.

    Args:
        config: see there.
        classifiers: of the target site, which are asked about re-stained images; with the same classes.
        source: unlabelled images, uint8[N, S, S, 3].
        target: labelled cells that the classifiers were trained on.
        trained: translators, which take part as they are.
        direct: with the same classes, which are asked about the source's images as they are. They are left out if
            they are less sure than the others are of their surest re-staining, by more than `config.doubt`: on blurred
            images outlines say little.
        seed: of the draws of target images.
        name: its name in tables.

    Raises:
        InputError: no classifiers, or they have different classes.
    """
    if not classifiers or len({classifier.classes for classifier in (*classifiers, *direct)}) != 1:
        raise InputError("expected at least one classifier, all of the same classes; align them first")
    rng = np.random.default_rng(seed)
    if len(source) > LARGEST_FIT:
        source = source[rng.choice(len(source), LARGEST_FIT, replace=False)]
    known = dict(trained or {})

    def fitted(names: Sequence[str], mix: NDArray[np.float64]) -> dict[str, Standardizer]:
        drawn = target.images[target.drawn(mix, LARGEST_FIT, rng)]
        return {n: known[n] if n in known else fit_normalizer(n, source, drawn) for n in names}

    found = fitted((*config.restainings, *known), np.full(len(target.classes), 1.0 / len(target.classes)))
    answers = {n: mean_answer(classifiers, standardizer.standardize(source)) for n, standardizer in found.items()}
    sureness = {n: float(answer.max(axis=1).mean()) for n, answer in answers.items()}
    kept = surest(sureness, config.doubt)
    unaided = mean_answer(direct, source) if direct else None
    if unaided is not None and not _as_sure(unaided, sureness, config.doubt):
        direct, unaided = (), None
    agreed = Agreement(name, tuple(classifiers), {n: found[n] for n in kept}, sureness, None, tuple(direct))
    mix = _mix(agreed.joined([answers[n] for n in kept], unaided))
    for _ in range(config.mixing_rounds):
        agreed = replace(agreed, standardizers=fitted(kept, mix))
        answered = [mean_answer(classifiers, each.standardize(source)) for each in agreed.standardizers.values()]
        mix = _mix(agreed.joined(answered, unaided))
    return replace(agreed, class_mix=mix)


def surest(sureness: Mapping[str, float], doubt: float | None) -> tuple[str, ...]:
    """Return the names whose sureness is at most `doubt` below the largest, in their order."""
    least = -1.0 if doubt is None else max(sureness.values()) - doubt
    return tuple(name for name, sure in sureness.items() if sure >= least)


def _as_sure(answer: Probabilities, sureness: Mapping[str, float], doubt: float | None) -> bool:
    """Tell whether an answer is at most `doubt` less sure than the surest of others."""
    sure = float(answer.max(axis=1).mean())
    return "unaided" in surest({**sureness, "unaided": sure}, doubt)


def _mix(answer: Probabilities) -> NDArray[np.float64]:
    mix: NDArray[np.float64] = answer.mean(axis=0, dtype=np.float64)
    return mix


def _mean(answers: Sequence[Probabilities]) -> Probabilities:
    mean: Probabilities = np.stack(answers).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
