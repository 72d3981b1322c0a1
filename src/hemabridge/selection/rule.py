"""The selection rule: smallest distance subject to a morphology floor, with the confidence of the choice.

Without classifiers the distance is that of the stain, smoothed over neighboring snapshots. With classifiers it is their
disagreement with the shape members or, without these, with the consensus of the best half of the snapshots. The
disagreement is not smoothed, since all snapshots are compared on the same cells with the same reference.

The floor has three parts. The morphology guard may refuse at most a given share of a snapshot's cells. The kept
structure must reach a low minimum, which excludes snapshots that also destroy the target's cells, from which the guard
learns its limits. Few cells may get blotches of color on empty glass: a site with two colors of glass may have so few
cells of one that the guard's share says nothing about them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hemabridge.selection.morphology_floor import LEAST_KEPT, MOST_REFUSED, MOST_TINTED

Floats = NDArray[np.float64]

CHANCE = 0.025
"""A share of resamples up to this counts as chance: the tail of a 95% interval."""


class RuleConfig(BaseModel):
    """The constants of the rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_refused: float = Field(
        MOST_REFUSED, ge=0, le=1, description="largest share of cells that the guard may refuse of a chosen snapshot"
    )
    least_kept: float = Field(
        LEAST_KEPT,
        ge=-1,
        le=1,
        description="least structure that a chosen snapshot must keep",
    )
    most_tinted: float = Field(
        MOST_TINTED,
        ge=0,
        le=1,
        description="largest share of cells that may get blotches of color on empty glass, of a chosen snapshot",
    )
    stain_margin: float = Field(
        0.05, ge=0, description="snapshots within this of the smallest distance count as equally near"
    )
    disagreement_margin: float = Field(
        0.0, ge=0, description="the same for the disagreement of classifiers, in its unit"
    )
    smoothing_octaves: float = Field(
        0.25, ge=0, description="width of the smoothing of stain distances, in doublings of the images seen; 0: none"
    )
    reader_floor: float = Field(0.8, ge=0, le=1, description="share of cells that readers must accept")


@dataclass(frozen=True, eq=False)
class Table:
    """The measures that the rule compares: S snapshots in the order of training, B resamples of the cells.

    Attributes:
        images: images seen in training, rising, [S].
        distance: the measure that is minimized, float64[S].
        distance_drawn: the same of each resample, float64[B, S].
        margin: distances within this of the smallest count as equal.
        octaves: width of the smoothing, in doublings of the images seen.
        refused: share of cells that the morphology guard refuses, float64[S].
        refused_drawn: the same of each resample, float64[B, S].
        kept: structure kept, float64[S].
        kept_drawn: the same of each resample, float64[B, S].
        tinted: share of cells with new blotches on empty glass, float64[S].
        tinted_drawn: the same of each resample, float64[B, S].
        allowed: False for snapshots that readers refused, bool[S].
    """

    images: tuple[int, ...]
    distance: Floats
    distance_drawn: Floats
    margin: float
    octaves: float
    refused: Floats
    refused_drawn: Floats
    kept: Floats
    kept_drawn: Floats
    tinted: Floats
    tinted_drawn: Floats
    allowed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Choice:
    """The result of the rule.

    Attributes:
        chosen: index of the chosen snapshot; None if none is above the floor.
        smoothed: the distance that was compared, float64[S].
        won: share of resamples in which each snapshot is chosen, float64[S]; the sum is less than 1 if in some
            resamples none is above the floor.
        alike: indices of the snapshots that are as good as the chosen one in more than `CHANCE` of the resamples.
    """

    chosen: int | None
    smoothed: Floats
    won: Floats
    alike: tuple[int, ...]


def choose(table: Table, config: RuleConfig) -> Choice:
    """Choose the snapshot of smallest distance above the floor; among equal distances, that with the most structure.

    The measures of a single snapshot vary by chance, and neighboring snapshots had nearly the same training. Distance
    and structure are therefore averaged over neighbors before they are compared. The floor is applied to each snapshot
    separately. Of equals the earliest is chosen.

    Raises:
        ValueError: there is no snapshot, or their numbers of images do not rise.
    """
    weights = smoothing_weights(table.images, table.octaves)
    near, near_drawn = table.distance @ weights.T, table.distance_drawn @ weights.T
    kept, kept_drawn = table.kept @ weights.T, table.kept_drawn @ weights.T
    fit = above_floor(table.refused, table.kept, table.tinted, config) & table.allowed
    drawn = table.refused_drawn, table.kept_drawn, table.tinted_drawn
    fit_drawn = above_floor(*drawn, config) & table.allowed
    best_drawn = _near_enough(near_drawn, fit_drawn, table.margin)
    winners = np.where(best_drawn, kept_drawn, -np.inf).argmax(axis=1)[fit_drawn.any(axis=1)]
    won = np.bincount(winners, minlength=len(fit)) / len(fit_drawn)
    if not fit.any():
        return Choice(None, near, won, ())
    chosen = int(np.where(_near_enough(near, fit, table.margin), kept, -np.inf).argmax())
    rival = best_drawn & (~best_drawn[:, [chosen]] | (kept_drawn >= kept_drawn[:, [chosen]]))
    alike = tuple(int(s) for s in np.flatnonzero(fit & (rival.mean(axis=0) > CHANCE)) if s != chosen)
    return Choice(chosen, near, won, alike)


def above_floor(refused: Floats, kept: Floats, tinted: Floats, config: RuleConfig) -> NDArray[np.bool_]:
    """Return which snapshots are above the floor, bool of the shape of the three arrays."""
    clean = tinted <= config.most_tinted
    return np.asarray((refused <= config.most_refused) & (kept >= config.least_kept) & clean)


def _near_enough(distance: Floats, fit: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """Return which snapshots among `fit` are within the margin of the smallest distance among them, bool[..., S]."""
    among = np.where(fit, distance, np.inf)
    return np.asarray(fit & (among <= among.min(axis=-1, keepdims=True) + margin))


def smoothing_weights(images: tuple[int, ...], octaves: float) -> Floats:
    """Return for each snapshot the weights of all, float64[S, S]; rows sum to 1.

    The weight is exp(-d^2 / 2 octaves^2), where d is the distance in doublings of the images seen. Training changes a
    translator fast at first and slowly later: epochs 200 and 205 are neighbors, epochs 5 and 10 are not.

    Raises:
        ValueError: there is no snapshot, or their numbers of images do not rise.
    """
    seen = np.asarray(images, np.float64)
    if len(seen) == 0 or seen[0] <= 0 or (np.diff(seen) <= 0).any():
        raise ValueError(f"expected snapshots in the order of training, got images {images}")
    if octaves == 0:
        return np.eye(len(seen))
    places = np.log2(seen)
    weights = np.exp(-((places[:, None] - places) ** 2) / (2 * octaves**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
