"""Measurement of every snapshot on the same cells, with the same bootstrap resamples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hemabridge.domain.domain_classifier import domain_auc
from hemabridge.errors import InputError
from hemabridge.guard.thresholds import Thresholds, floors
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.glass_tint import TINTED, glass_tints
from hemabridge.metrics.kernel_distance import KernelDistance
from hemabridge.metrics.soft_agreement import soft_agreement, soft_agreement_drawn
from hemabridge.selection.descriptor import standardized
from hemabridge.selection.morphology_floor import guarded_places, refused, structure_kept
from hemabridge.selection.snapshot_measures import SnapshotMeasures, interval_of
from hemabridge.selection.stain_distance import COMPARTMENTS, SPACES, Places, StainProfile, measurable, stain_distances

Floats = NDArray[np.float64]

FEWEST_CELLS = 10
"""Fewest cells of a site from which its stain can be measured."""

LEAST_PROBABILITY = 1e-3
"""Probabilities are clipped to at least this value, so that no single cell dominates the consensus likelihood."""
CONSENSUS_ROUNDS = 3
"""Number of rounds in which the consensus is formed again, from the half of the snapshots that disagrees least."""

Features = Callable[[UInt8Images], NDArray[np.floating]]
"""Maps uint8[N, H, W, 3] to features [N, D] in which two sites are compared."""


class Answers(Protocol):
    """The interface of a classifier that is used here."""

    def probabilities(self, images: UInt8Images) -> NDArray[np.float32]:
        """Return float32[N, C], rows sum to 1."""
        ...


class Ruler:
    """The cells of both sites, with which the re-stained cells of each snapshot are compared.

    Cells are resampled with replacement (Efron 1979, doi:10.1214/aos/1176344552), with the same draws for all
    snapshots, so that two snapshots are compared on the same cells.

    Args:
        source: original cells of the source, uint8[N, S, S, 3].
        target: cells of the target, uint8[M, S, S, 3].
        features: features in which the sites are compared.
        classifiers: their predictions on the re-stained cells are compared; may be empty.
        shape_members: classifiers of gray shape images; they classify the source's original cells; may be empty.
        labels: int64[N], classes of the source's cells; only if they may be used.
        resamples: number of resamples.
        seed: of the resamples.

    Raises:
        InputError: a site has fewer than `FEWEST_CELLS` cells.
    """

    def __init__(
        self,
        source: UInt8Images,
        target: UInt8Images,
        *,
        features: Features,
        classifiers: Sequence[Answers] = (),
        shape_members: Sequence[Answers] = (),
        labels: NDArray[np.int64] | None = None,
        resamples: int = 300,
        seed: int = 0,
    ) -> None:
        if min(len(source), len(target)) < FEWEST_CELLS:
            raise InputError(
                f"expected at least {FEWEST_CELLS} cells of each site to measure snapshots on, got {len(source)} of "
                f"the source and {len(target)} of the target; add images, or give the part more of them"
            )
        self.source, self._features, self._classifiers, self._labels = source, features, classifiers, labels
        generator = np.random.default_rng(seed)
        self._drawn, self._drawn_target = (_draws(generator, len(x), resamples) for x in (source, target))
        self._places, target_places = Places.found(source), Places.found(target)
        own, goal = StainProfile.of(source, self._places), StainProfile.of(target, target_places)
        self._kinds = measurable(own, goal)
        self._goal, self._goal_drawn = goal.pooled(np.ones((1, len(target)))), goal.pooled(self._drawn_target)
        self._start, self._start_drawn = (self._distances(own, drawn) for drawn in (None, self._drawn))
        raw = np.asarray(features(target), np.float64)
        # Scaled by both sites, because features that hardly vary at the target would dominate all others.
        self._scale = np.concatenate([raw, np.asarray(features(source), np.float64)])
        self._target = standardized(raw, self._scale)
        by_shape = [member.probabilities(source) for member in shape_members]
        self._by_shape = np.asarray(np.mean(by_shape, axis=0), np.float64) if by_shape else None
        self._priors = [one.probabilities(target).mean(axis=0) for one in classifiers]
        self._halves = generator.permutation(len(target))

    @property
    def measured(self) -> tuple[str, ...]:
        """The compartments that enough cells of both sites show, by name."""
        return tuple(name for name, use in zip(COMPARTMENTS, self._kinds, strict=True) if use)

    @property
    def has_shape_members(self) -> bool:
        """Whether there are shape members, with which the classifiers are then compared."""
        return self._by_shape is not None

    def kid_floor(self) -> tuple[float, tuple[float, float]]:
        """Return KID between two halves of the target's cells, the value for equal stains, and its 95% interval."""
        middle = len(self._halves) // 2
        one, other = self._target[self._halves[:middle]], self._target[self._halves[middle:]]
        generator = np.random.default_rng(1)
        distance = KernelDistance(one, other)
        drawn = distance.resampled(*(_draws(generator, len(x), len(self._drawn)) for x in (one, other)))
        return distance.value(), interval_of(drawn)

    def originals(self) -> SnapshotMeasures:
        """Measure the source's original cells."""
        return self.read(self.source, floors())

    def read(self, images: UInt8Images, limits: Thresholds) -> SnapshotMeasures:
        """Measure the source's cells after a re-staining.

        Args:
            images: uint8[N, S, S, 3] in the order of the source's cells.
            limits: of the morphology guard for this re-staining.
        """
        profile = StainProfile.of(images, self._places)
        now, drawn = self._distances(profile, None), self._distances(profile, self._drawn)
        compartments = {
            name: {space: float(now[space][0, column]) for space in SPACES}
            for column, name in enumerate(COMPARTMENTS)
            if self._kinds[column]
        }
        vectors = standardized(np.asarray(self._features(images), np.float64), self._scale)
        kernel = KernelDistance(vectors, self._target)
        kept = structure_kept(self.source, images)
        tinted = (glass_tints(self.source, images) > TINTED).astype(np.float64)
        lost, lost_drawn = self._refused(images, limits)
        answers = [one.probabilities(images) for one in self._classifiers]
        confidence, shift, wrong = self._of_answers(answers)
        return SnapshotMeasures(
            compartments=compartments,
            stain=float(self._share(now, self._start)[0]),
            stain_drawn=self._share(drawn, self._start_drawn),
            kid=kernel.value(),
            kid_drawn=kernel.resampled(self._drawn, self._drawn_target),
            auc=max(0.5, domain_auc(vectors, self._target)),
            refused=lost,
            refused_drawn=lost_drawn,
            kept=float(kept.mean()),
            kept_drawn=self._mean(kept),
            tinted=float(tinted.mean()),
            tinted_drawn=self._mean(tinted),
            confidence=confidence,
            prior_shift=shift,
            error=None if wrong is None else float(wrong.mean()),
            error_drawn=None if wrong is None else self._mean(wrong),
            answers=np.asarray(np.mean(answers, axis=0), np.float64) if answers else None,
            votes=_votes(answers) if answers else None,
        )

    def compared(self, snapshots: Sequence[SnapshotMeasures]) -> list[SnapshotMeasures]:
        """Return the measures of all snapshots of a run with their disagreement, if there are classifiers.

        Without shape members it is the consensus negative log-likelihood: the mean over cells of -ln p, where p is the
        snapshot's probability, at least `LEAST_PROBABILITY`, of the class with the largest mean probability over
        snapshots. A cell has one class whatever the snapshot, and an ensemble errs less than most of its members
        (Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474), so a snapshot that departs from the consensus is
        probably worse. The consensus is first that of all snapshots, then that of the half that disagrees least:
        snapshots that are hardly trained, or trained too long, would bias it.

        With shape members it is 1 - the soft agreement of the classifiers' votes with the shape members' probabilities
        (`hemabridge.metrics.soft_agreement`): shape members depend on no re-staining and err on other cells. Votes and
        not probabilities are compared, because confidence grows with training whether a prediction is right or wrong.
        """
        answers = [reading.answers for reading in snapshots if reading.answers is not None]
        votes = [reading.votes for reading in snapshots if reading.votes is not None]
        if min(len(answers), len(votes)) < len(snapshots) or not answers:
            return list(snapshots)
        if self._by_shape is not None:
            pairs = zip(snapshots, votes, strict=True)
            return [self._compared_with(self._by_shape, reading, one) for reading, one in pairs]
        stacked = np.stack(answers)
        loss = _consensus_nll(stacked, np.arange(len(stacked)))
        for _ in range(CONSENSUS_ROUNDS):
            best = np.argsort(loss.mean(axis=1), kind="stable")[: max(2, (len(stacked) + 1) // 2)]
            loss = _consensus_nll(stacked, best)
        return [
            replace(reading, disagreement=float(one.mean()), disagreement_drawn=self._mean(one))
            for reading, one in zip(snapshots, loss, strict=True)
        ]

    def _compared_with(self, by_shape: Floats, reading: SnapshotMeasures, votes: Floats) -> SnapshotMeasures:
        drawn = soft_agreement_drawn(by_shape, votes, self._drawn)
        return replace(reading, disagreement=1 - soft_agreement(by_shape, votes), disagreement_drawn=1 - drawn)

    def _distances(self, profile: StainProfile, drawn: Floats | None) -> dict[str, Floats]:
        if drawn is None:
            return stain_distances(profile.pooled(np.ones((1, len(profile.present)))), self._goal)
        return stain_distances(profile.pooled(drawn), self._goal_drawn)

    def _share(self, now: dict[str, Floats], start: dict[str, Floats]) -> Floats:
        """Return distances as a share of those of the originals; both color spaces have equal weight."""
        means = [self._over_compartments(now[s]) / np.maximum(self._over_compartments(start[s]), 1e-9) for s in SPACES]
        return np.asarray(np.mean(means, axis=0))

    def _over_compartments(self, distances: Floats) -> Floats:
        """Return the mean over the measured compartments that occur in a resample.

        If none occurs, the mean is 0 for all snapshots alike, because they share their resamples.
        """
        values = distances[:, self._kinds]
        shown = ~np.isnan(values)
        return np.asarray(np.where(shown, values, 0).sum(axis=1) / np.maximum(shown.sum(axis=1), 1))

    def _mean(self, values: Floats) -> Floats:
        return np.asarray(self._drawn @ values / self._drawn.sum(axis=1))

    def _refused(self, images: UInt8Images, limits: Thresholds) -> tuple[float, Floats]:
        places = guarded_places(len(images))
        found = refused(self.source[places], images[places], limits).astype(np.float64)
        drawn = self._drawn[:, places]
        return float(found.mean()), np.asarray(drawn @ found / np.maximum(drawn.sum(axis=1), 1))

    def _of_answers(self, answers: list[NDArray[np.float32]]) -> tuple[float | None, float | None, Floats | None]:
        """Return confidence, prior shift and, where labels may be used, the share of classifiers that err, [N]."""
        if not answers:
            return None, None, None
        confidence = float(np.mean([answer.max(axis=1).mean() for answer in answers]))
        shifts = [np.abs(a.mean(axis=0) - prior).sum() / 2 for a, prior in zip(answers, self._priors, strict=True)]
        if self._labels is None:
            return confidence, float(np.mean(shifts)), None
        wrong = np.mean([answer.argmax(axis=1) != self._labels for answer in answers], axis=0)
        return confidence, float(np.mean(shifts)), np.asarray(wrong, np.float64)


def _draws(generator: np.random.Generator, n: int, resamples: int) -> Floats:
    """Return the number of times that each of n cells is drawn in each resample, float64[B, n]."""
    return generator.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _votes(answers: list[NDArray[np.float32]]) -> Floats:
    """Return the share of classifiers that predict each class, float64[N, C]."""
    return np.asarray(np.mean([np.eye(one.shape[1])[one.argmax(axis=1)] for one in answers], axis=0), np.float64)


def _consensus_nll(probabilities: Floats, members: NDArray[np.int64]) -> Floats:
    """Return -ln of each snapshot's probability of the consensus class of some snapshots, float64[S, N].

    Args:
        probabilities: of each snapshot, cell and class, [S, N, C].
        members: indices of the snapshots that form the consensus.
    """
    consensus = probabilities[members].mean(axis=0).argmax(axis=1)
    own = probabilities[:, np.arange(probabilities.shape[1]), consensus]
    return np.asarray(-np.log(np.maximum(own, LEAST_PROBABILITY)))
