"""The rare-class learning curve: scores of classifiers trained with and without synthetic cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.metrics.resampling import Resampling, percentile_interval, score_draws
from hemabridge.storage.results_file import STRICT, ResultsFile

FILE: Final = "learning-curve.json"


Interval: TypeAlias = tuple[float, float]
Effect: TypeAlias = Literal["helps", "harms", "not shown"]

ARMS: Final[Mapping[str, str]] = {
    "nothing": "the real cells only",
    "augmented": "turned, mirrored, moved and color-jittered",
    "oversampled": "each class drawn equally often",
    "synthetic": "synthetic cells added",
    "real": "as many real cells added",
    "usual": "augmented and oversampled",
    "usual and synthetic": "augmented, oversampled, synthetic cells added",
}
"""The arms: how each training differs from one on the few real cells of the rare class."""

AGAINST: Final[Mapping[str, str]] = {
    **dict.fromkeys(("augmented", "oversampled", "synthetic", "real", "usual"), "nothing"),
    "usual and synthetic": "usual",
}
"""The arm with which each is compared; synthetic cells are also compared with augmentation, which needs no
generator."""


@dataclass(frozen=True)
class Score:
    """A mean over seeds with its 95% interval, from a bootstrap of seeds and of cells within their class."""

    __pydantic_config__ = STRICT

    value: float
    interval: Interval


@dataclass(frozen=True)
class LearningCurveRow:
    """Scores of the classifiers of one arm with one number of real cells of the rare class.

    Attributes:
        real: real cells of the rare class.
        arm: one of `ARMS`.
        added: number of synthetic or further real cells.
        balanced_accuracy: mean recall of all classes, 0..1.
        recall: of the rare class, 0..1.
        against: the arm that the gains are relative to; None for the first arm.
        balanced_gain: difference of the balanced accuracies on the same cells with the same seeds, -1..1.
        recall_gain: the same for the recall of the rare class.
        by_seed: balanced accuracy and recall with each seed.
    """

    __pydantic_config__ = STRICT

    real: int
    arm: str
    added: int
    balanced_accuracy: Score
    recall: Score
    against: str | None
    balanced_gain: Score | None
    recall_gain: Score | None
    by_seed: tuple[tuple[float, float], ...]

    def effect(self, measure: Literal["balanced", "recall"]) -> Effect | None:
        """Return whether the interval of a gain excludes 0; None if the arm is not compared with another."""
        gain = self.balanced_gain if measure == "balanced" else self.recall_gain
        if gain is None:
            return None
        low, high = gain.interval
        return "helps" if low > 0 else "harms" if high < 0 else "not shown"


@dataclass(frozen=True)
class LearningCurve(ResultsFile):
    """The rare-class curve.

    Attributes:
        rare: the class of which few cells are available.
        source: the class that synthetic cells were translated from.
        classes: all classes, in the order of the labels.
        common_cells: number of training cells of each other class.
        test_cells: number of real held-out cells of each class.
        images: number of images in the training of each classifier.
        generator_images: number of images in the training of each generator.
        seeds: of the choice of cells, of generators and of classifiers.
        rows: by number of real cells, then in the order of `ARMS`.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = FILE
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "measure again"

    rare: str
    source: str
    classes: tuple[str, ...]
    common_cells: dict[str, int]
    test_cells: dict[str, int]
    images: int
    generator_images: int
    seeds: tuple[int, ...]
    rows: tuple[LearningCurveRow, ...]

    def row(self, real: int, arm: str) -> LearningCurveRow | None:
        """Return one row; None if it was not measured."""
        return next((row for row in self.rows if (row.real, row.arm) == (real, arm)), None)

    @property
    def reals(self) -> tuple[int, ...]:
        """The numbers of real cells that were tried, ascending."""
        return tuple(sorted({row.real for row in self.rows}))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that were tried, in the order of `ARMS`."""
        found = {row.arm for row in self.rows}
        return tuple(arm for arm in ARMS if arm in found)


def score_arms(
    truth: NDArray[np.int64],
    right: Mapping[str, NDArray[np.bool_]],
    rare: int,
    *,
    real: int,
    added: Mapping[str, int],
    seed: int = 0,
) -> list[LearningCurveRow]:
    """Score the arms of one number of real cells on the same test cells, with the same seeds.

    The bootstrap resamples seeds, alike for all arms, and cells within their class, alike for all arms and seeds, so
    that differences are paired. With one seed only cells are resampled, and the intervals do not include the variation
    between seeds. With few seeds they are too narrow (Davison and Hinkley 1997, section 3.8,
    doi:10.1017/CBO9780511802843).

    Args:
        truth: int64[N], class of each test cell.
        right: bool[S, N] of each arm: whether its classifier of each seed classified each cell correctly.
        rare: label of the rare class.
        real: real cells of the rare class.
        added: synthetic or further real cells of each arm.
        seed: of the draws.
    """
    arms = [arm for arm in ARMS if arm in right]
    seeds = len(right[arms[0]])
    runs = np.concatenate([right[arm] for arm in arms]).T
    _, balanced = score_draws(runs, Resampling(truth, seed=seed))
    own = truth == rare
    recall, _ = score_draws(runs[own], Resampling(truth[own], seed=seed + 1))
    weights = np.random.default_rng((seed, 2)).multinomial(seeds, np.full(seeds, 1 / seeds), len(balanced)) / seeds
    drawn = [
        dict(zip(arms, np.einsum("das,ds->ad", draws.reshape(len(draws), len(arms), seeds), weights), strict=True))
        for draws in (balanced, recall)
    ]
    by_seed = {arm: [_scores(truth, hits, rare) for hits in right[arm]] for arm in arms}
    means = [{arm: float(np.mean([pair[which] for pair in by_seed[arm]])) for arm in arms} for which in (0, 1)]
    return [_row(arm, arms, means, drawn, real, added.get(arm, 0), by_seed[arm]) for arm in arms]


def _row(
    arm: str,
    arms: Sequence[str],
    means: Sequence[Mapping[str, float]],
    drawn: Sequence[Mapping[str, NDArray[np.float64]]],
    real: int,
    added: int,
    by_seed: Sequence[tuple[float, float]],
) -> LearningCurveRow:
    other = AGAINST.get(arm, "")
    balanced, recall = (
        Score(mean[arm], percentile_interval(draws[arm])) for mean, draws in zip(means, drawn, strict=True)
    )
    gains: list[Score | None] = [None, None]
    if other in arms:
        gains = [
            Score(mean[arm] - mean[other], percentile_interval(draws[arm] - draws[other]))
            for mean, draws in zip(means, drawn, strict=True)
        ]
    return LearningCurveRow(
        real=real,
        arm=arm,
        added=added,
        balanced_accuracy=balanced,
        recall=recall,
        against=other if other in arms else None,
        balanced_gain=gains[0],
        recall_gain=gains[1],
        by_seed=tuple(by_seed),
    )


def _scores(truth: NDArray[np.int64], right: NDArray[np.bool_], rare: int) -> tuple[float, float]:
    recalls = {int(label): float(np.mean(right[truth == label])) for label in np.unique(truth)}
    return float(np.mean(list(recalls.values()))), recalls[rare]


def in_words(learning_curve: LearningCurve) -> list[str]:
    """Return plain sentences: where synthetic cells helped, where they harmed, and where no effect was shown."""
    sentences = []
    for arm, over in (("synthetic", "the real cells alone"), ("usual and synthetic", "augmentation and oversampling")):
        rows = [
            row
            for real in learning_curve.reals
            if (row := learning_curve.row(real, arm)) is not None and row.against is not None
        ]
        for measure, name in (("balanced", "balanced accuracy"), ("recall", f"recall of {learning_curve.rare}")):
            told = [f"{text} {_numbers(found)}" for text, found in _by_effect(rows, measure) if found]
            if told:
                sentences.append(f"Beside {over}, by {name}, synthetic cells {'; they '.join(told)} real cells.")
    return sentences


def _by_effect(rows: Sequence[LearningCurveRow], measure: str) -> list[tuple[str, list[int]]]:
    texts: Mapping[Effect, str] = {
        "helps": "helped at",
        "harms": "harmed at",
        "not shown": "made no difference that is shown at",
    }
    which: Literal["balanced", "recall"] = "balanced" if measure == "balanced" else "recall"
    return [(text, [row.real for row in rows if row.effect(which) == effect]) for effect, text in texts.items()]


def _numbers(values: Sequence[int]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last
