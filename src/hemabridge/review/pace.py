"""The time per screen, and changes in the course of a session."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from scipy.stats import kendalltau

from hemabridge.evaluation.reading import Stretch, Trend
from hemabridge.review.judgments import Judgment, readers_of
from hemabridge.review.scores import accepts, is_right

PARTS: Final = 4
"""Number of parts of a session. Each kind of screen is divided separately, since tasks follow one another, and a change
of task could be mistaken for learning."""

FEWEST_FOR_PARTS: Final = 8
"""Fewest screens of a session that is divided."""


def stretches(judgments: Sequence[Judgment]) -> tuple[Stretch, ...]:
    """Return time and answers of each reader's whole session, and of its parts in order; repeats are included."""
    found = []
    for reader in readers_of(judgments):
        screens = _screens(j for j in judgments if j.reader == reader)
        found.append(_stretch(reader, 0, PARTS, screens))
        if len(screens) >= FEWEST_FOR_PARTS:
            parts = [[s for kind in _kinds(screens) for s in _part(kind, number)] for number in range(PARTS)]
            found += [_stretch(reader, number, PARTS, part) for number, part in enumerate(parts, start=1) if part]
    return tuple(found)


def trends(judgments: Sequence[Judgment]) -> tuple[Trend, ...]:
    """Return the trends of each reader's time, correctness and acceptance over the session.

    The position of a screen is that among screens of its kind, 0..1; its time is relative to their median.

    References:
        Kendall (1945), The treatment of ties in ranking problems, doi:10.1093/biomet/33.3.239.
    """
    found = []
    for reader in readers_of(judgments):
        screens = _screens(j for j in judgments if j.reader == reader)
        timed, right, accepting = [], [], []
        for kind in _kinds(screens):
            usual = float(np.median([screen[0].verdict.seconds for screen in kind]))
            for number, screen in enumerate(kind):
                place = (number + 0.5) / len(kind)
                timed.append((place, screen[0].verdict.seconds / usual))
                right += [(place, float(true)) for j in screen if (true := is_right(j)) is not None]
                accepting += [(place, float(yes)) for j in screen if (yes := accepts(j)) is not None]
        for what, points in (("seconds", timed), ("right", right), ("accepted", accepting)):
            if len(points) > 2:
                found.append(_trend(reader, what, points))
    return tuple(found)


def _kinds(screens: Sequence[list[Judgment]]) -> list[list[list[Judgment]]]:
    """Return the screens in groups with the same questions."""
    found: dict[frozenset[str], list[list[Judgment]]] = {}
    for screen in screens:
        found.setdefault(frozenset(j.item.question for j in screen), []).append(screen)
    return list(found.values())


def _part(screens: Sequence[list[Judgment]], number: int) -> Sequence[list[Judgment]]:
    first, last = (round(len(screens) * end / PARTS) for end in (number, number + 1))
    return screens[first:last]


def _screens(judgments: Iterable[Judgment]) -> list[list[Judgment]]:
    """Return the answers of each screen of one reader, in the order of the session."""
    found: dict[int, list[Judgment]] = {}
    for judgment in judgments:
        found.setdefault(judgment.verdict.order, []).append(judgment)
    return [found[order] for order in sorted(found)]


def _stretch(reader: str, part: int, parts: int, screens: Sequence[Sequence[Judgment]]) -> Stretch:
    low, middle, high = np.percentile([max(j.verdict.seconds for j in screen) for screen in screens], [25, 50, 75])
    right = [found for screen in screens for j in screen if (found := is_right(j)) is not None]
    accepting = [found for screen in screens for j in screen if (found := accepts(j)) is not None]
    return Stretch(
        reader=reader,
        part=part,
        parts=parts,
        screens=len(screens),
        seconds=(float(low), float(middle), float(high)),
        right=sum(right),
        asked=len(right),
        accepted=sum(accepting),
        judged=len(accepting),
    )


def _trend(reader: str, what: str, points: Sequence[tuple[float, float]]) -> Trend:
    order, values = zip(*points, strict=True)
    found = kendalltau(order, values)
    if not np.isfinite(found.statistic):  # all values are equal
        return Trend(reader, what, len(points), None, None)
    return Trend(reader, what, len(points), float(found.statistic), float(found.pvalue))
