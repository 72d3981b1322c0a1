"""The check of a classifier on labeled cells of its own hospital, which finds a wrong description of its file.

Other descriptions are tried: the order of the classes (the best assignment of outputs to classes, Kuhn 1955,
doi:10.1002/nav.3800020109), BGR, channels last, and other ranges of values.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import perm
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from hemabridge.classifiers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Channels, Preprocessing
from hemabridge.classifiers.protocol import AlignedClassifier, Classifier, Probabilities
from hemabridge.errors import ModelError
from hemabridge.evaluation.home_failure import SLIGHT, Explanation, HomeFailure, beyond_chance
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.classification import balanced_accuracy, confusion_counts
from hemabridge.metrics.statistics import wilson_interval
from hemabridge.sampling import evenly_spaced

MOST_CELLS: Final = 200
"""Largest number of cells for the check, spread over the classes and over all cells."""

ALMOST_PERFECT: Final = 0.80
"""Agreement beyond chance above this is almost perfect (Landis and Koch 1977), and no description is tried."""
MODERATE: Final = 0.40
"""Smallest agreement beyond chance of an explanation (Landis and Koch 1977: more than fair)."""
LEAST_GAIN: Final = 0.25
"""Smallest gain of an explanation, as a share of the way from guessing to no error; above a step of Landis and Koch."""
LEAST_MORE: Final = 0.1
"""Smallest gain in balanced accuracy of two changes together over each single one for which both are reported."""
LEVEL: Final = 0.05
"""Level of the sign test of an explanation against the description, over all explanations (Bonferroni)."""

_NONE: Channels = (0.0, 0.0, 0.0)
_HALF: Channels = (0.5, 0.5, 0.5)
_WHOLE: Channels = (1.0, 1.0, 1.0)
_BYTE: Channels = (0.00392157, 0.00392157, 0.00392157)
RANGES: Final[Mapping[str, tuple[Channels, Channels]]] = {
    "ImageNet's mean and deviation": (IMAGENET_MEAN, IMAGENET_STD),
    "values of 0 to 1, without mean and deviation": (_NONE, _WHOLE),
    "values of 0 to 255, without mean and deviation": (_NONE, _BYTE),
    "values of -1 to 1": (_HALF, _HALF),
    "values of 0 to 255 minus ImageNet's mean": (IMAGENET_MEAN, _BYTE),
}
"""Mean and deviation of the usual ranges of an input's values, by their meaning."""


@runtime_checkable
class Adjustable(Classifier, Protocol):
    """A classifier whose preprocessing can be changed."""

    preprocessing: Preprocessing

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        """Return the same network with another preprocessing, or raise a `ModelError` if it takes no such input."""
        ...


@dataclass(frozen=True)
class _Variant:
    """Another description of the same network: the changes as settings and in words."""

    settings: tuple[str, ...]
    meanings: tuple[str, ...]
    preprocessing: Preprocessing

    def explained(self, rate: float, explains: bool) -> Explanation:
        return Explanation(", ".join(self.settings), " and ".join(self.meanings), rate, explains)


@dataclass(frozen=True, eq=False)
class _HomeCells:
    """Labeled cells of the classifier's own hospital, and its classes."""

    images: UInt8Images
    truth: NDArray[np.int64]
    classes: tuple[str, ...]
    chance: float

    def rate(self, raw: Probabilities, columns: Sequence[int]) -> float:
        return balanced_accuracy(self.truth, raw[:, columns].argmax(axis=1).astype(np.int64), len(self.classes))

    def beats(
        self, raw: Probabilities, columns: Sequence[int], old: NDArray[np.bool_], old_rate: float, tried: int
    ) -> bool:
        """Return whether a description explains the failure of the old one, whose correct cells are `old`, bool[N]."""
        gained = beyond_chance(self.rate(raw, columns), self.chance)
        if gained <= MODERATE or gained - beyond_chance(old_rate, self.chance) < LEAST_GAIN:
            return False
        new = raw[:, columns].argmax(axis=1) == self.truth
        better, worse = int((new & ~old).sum()), int((old & ~new).sum())
        return bool(binom.sf(better - 1, better + worse, 0.5) * tried <= LEVEL)


@dataclass(frozen=True, eq=False)
class OtherSite:
    """Labeled cells of another hospital, which is the classifier's own one if two sites were exchanged."""

    name: str
    images: UInt8Images
    truth: NDArray[np.int64]


def check_at_home(
    name: str,
    site: str,
    classifier: Classifier,
    images: UInt8Images,
    truth: NDArray[np.int64],
    classes: Sequence[str],
    other: OtherSite | None = None,
) -> HomeFailure | None:
    """Return the failure of a classifier at its own hospital, with likely causes; None if it does not fail.

    Args:
        name: name of the classifier.
        site: name of the hospital.
        classifier: the classifier with the class names and the preprocessing of its description.
        images: cells of that hospital that were not used in its training, uint8[N, S, S, 3].
        truth: int64[N], indices into `classes`.
        classes: the classes to distinguish; the classifier may have more.
        other: cells of the hospital that may have been exchanged with its own.
    """
    if isinstance(classifier, AlignedClassifier):
        classifier = classifier.inner
    some = spread_over_classes(truth)
    cells = _HomeCells(images[some], truth[some], tuple(classes), 1 / len(classes))
    columns = [classifier.classes.index(each) for each in classes]
    raw = classifier.probabilities(cells.images)
    rate = cells.rate(raw, columns)
    if beyond_chance(rate, cells.chance) > ALMOST_PERFECT:
        return None
    explanations = _explanations(classifier, cells, raw, columns) if isinstance(classifier, Adjustable) else ()
    if other is not None:
        explanations = (*explanations, _swapped(classifier, cells, rate, columns, other))
    if beyond_chance(rate, cells.chance) > SLIGHT and not any(each.explains for each in explanations):
        return None
    return HomeFailure(name, site, len(cells.truth), rate, cells.chance, explanations)


def check_predictions(
    name: str, site: str, truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> HomeFailure | None:
    """Return the failure of a classifier that was trained here and is no better than guessing; None otherwise."""
    rate, chance = balanced_accuracy(truth, predicted, num_classes), 1 / num_classes
    return HomeFailure(name, site, len(truth), rate, chance) if beyond_chance(rate, chance) <= SLIGHT else None


def _swapped(
    classifier: Classifier, cells: _HomeCells, rate: float, columns: Sequence[int], other: OtherSite
) -> Explanation:
    """Return the result at the other hospital; it is an explanation if the two intervals do not overlap."""
    some = spread_over_classes(other.truth)
    there = _HomeCells(other.images[some], other.truth[some], cells.classes, cells.chance)
    found = there.rate(classifier.probabilities(there.images), columns)
    gained = beyond_chance(found, cells.chance)
    low, high = (
        wilson_interval(round(share * len(site.truth)), len(site.truth))
        for share, site in ((found, there), (rate, cells))
    )
    explains = gained > MODERATE and gained - beyond_chance(rate, cells.chance) >= LEAST_GAIN and low[0] > high[1]
    meaning = f"source and target are swapped, for it is a classifier of {other.name}"
    return Explanation("source and target exchanged", meaning, found, explains)


def _explanations(
    classifier: Adjustable, cells: _HomeCells, raw: Probabilities, columns: Sequence[int]
) -> tuple[Explanation, ...]:
    """Return each single change with its result, and a pair of changes if it explains more than each single one."""
    old, rate = raw[:, columns].argmax(axis=1) == cells.truth, cells.rate(raw, columns)
    asked = list(_asked(classifier, _variants(classifier.preprocessing), cells.images))
    orders = perm(len(classifier.classes), len(cells.classes))
    tried = [(variant, found, list(columns), len(asked)) for variant, found in asked]
    for variant, found in [(_Variant((), (), classifier.preprocessing), raw), *asked]:
        best = _best_columns(found, cells, columns)
        if len(variant.settings) < 2 and best != list(columns):
            reordered = _with_order(variant, classifier.classes, cells.classes, best)
            tried.append((reordered, found, best, orders * (len(asked) if variant.settings else 1)))
    single: list[Explanation] = []
    double: list[Explanation] = []
    for variant, found, chosen, count in tried:
        told = variant.explained(cells.rate(found, chosen), cells.beats(found, chosen, old, rate, count))
        (single if len(variant.settings) == 1 else double).append(told)
    single.sort(key=lambda each: (each.explains, each.balanced_accuracy), reverse=True)
    top = max((each.balanced_accuracy for each in single if each.explains), default=0.0)
    pairs = [each for each in double if each.explains and each.balanced_accuracy >= top + LEAST_MORE]
    return (*sorted(pairs, key=lambda each: each.balanced_accuracy)[-1:], *single)


def _variants(described: Preprocessing) -> Iterator[_Variant]:
    """Yield descriptions with one change, and with a change of channels and range together."""
    channels = {"rgb": "red, green, blue", "bgr": "blue, green, red"}
    layouts = {"nchw": "channels first", "nhwc": "channels last"}
    layout = "nhwc" if described.layout == "nchw" else "nchw"
    order = "bgr" if described.channels == "rgb" else "rgb"
    swapped = {"channels": order}
    yield _Variant(
        (f'channels = "{order}"',),
        (f"its channels are {channels[order]}",),
        described.model_copy(update=swapped),
    )
    yield _Variant(
        (f'layout = "{layout}"',), (f"it takes {layouts[layout]}",), described.model_copy(update={"layout": layout})
    )
    for meaning, (mean, std) in RANGES.items():
        if np.allclose((mean, std), (described.mean, described.std), atol=1e-4):
            continue
        setting = f"mean = {_listed(mean)}, std = {_listed(std)}"
        changed = described.model_copy(update={"mean": mean, "std": std})
        yield _Variant((setting,), (f"it takes {meaning}",), changed)
        yield _Variant(
            (f'channels = "{order}"', setting),
            (f"its channels are {channels[order]}", f"it takes {meaning}"),
            changed.model_copy(update=swapped),
        )


def _asked(
    classifier: Adjustable, variants: Iterable[_Variant], images: UInt8Images
) -> Iterator[tuple[_Variant, Probabilities]]:
    for variant in variants:
        try:
            yield variant, classifier.with_preprocessing(variant.preprocessing).probabilities(images)
        except ModelError:
            continue  # the network does not accept this input, so it is not an explanation


def _best_columns(raw: Probabilities, cells: _HomeCells, columns: Sequence[int]) -> list[int]:
    """Return the outputs for the classes with the best balanced accuracy; `columns` among equal ones."""
    outputs = raw.shape[1]
    counts = confusion_counts(cells.truth, raw.argmax(axis=1).astype(np.int64), outputs)[: len(cells.classes)]
    recalls = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    recalls[np.arange(len(columns)), columns] += 1e-9
    return [int(column) for column in linear_sum_assignment(recalls, maximize=True)[1]]


def _with_order(variant: _Variant, names: Sequence[str], classes: Sequence[str], columns: Sequence[int]) -> _Variant:
    """Return a variant whose outputs `columns` have the names `classes`; the others keep their order."""
    given = dict(zip(columns, classes, strict=True))
    others = iter(each for each in names if each not in classes)
    order = [given[place] if place in given else next(others) for place in range(len(names))]
    setting = f"classes = [{', '.join(repr(each) for each in order)}]".replace("'", '"')
    meaning = "its outputs are classes in another order"
    return _Variant((*variant.settings, setting), (*variant.meanings, meaning), variant.preprocessing)


def spread_over_classes(truth: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return at most `MOST_CELLS` indices, the same number for each class if possible, evenly spaced."""
    of_class = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    share = max(MOST_CELLS // max(len(of_class), 1), 1)
    chosen = [places[evenly_spaced(len(places), share)] for places in of_class]
    return np.sort(np.concatenate([np.empty(0, np.intp), *chosen]))


def _listed(values: Channels) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
