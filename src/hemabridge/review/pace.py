"""Time for a screen, and what changes in the course of a session."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from scipy.stats import kendalltau

from hemabridge.evaluation.reading import Stretch, Trend
from hemabridge.review.judgements import Judgement, readers_of
from hemabridge.review.scores import accepts, is_right

PARTS: Final = 4
"""A session is cut into so many parts of as many screens each."""

FEWEST_FOR_PARTS: Final = 8
"""Screens; a shorter session is not cut."""


def stretches(judgements: Sequence[Judgement]) -> tuple[Stretch, ...]:
    """Return time and answers of each reader's whole session, and of its parts in order. Repeats count."""
    found = []
    for reader in readers_of(judgements):
        screens = _screens(j for j in judgements if j.reader == reader)
        found.append(_stretch(reader, 0, PARTS, screens))
        if len(screens) >= FEWEST_FOR_PARTS:
            cuts = np.linspace(0, len(screens), PARTS + 1).round().astype(int)
            found += [
                _stretch(reader, part, PARTS, screens[cuts[part - 1] : cuts[part]]) for part in range(1, PARTS + 1)
            ]
    return tuple(found)


def trends(judgements: Sequence[Judgement]) -> tuple[Trend, ...]:
    """Return whether time, rightness and acceptance of each reader rise or fall over the session.

    References:
        Kendall (1945), The treatment of ties in ranking problems, doi:10.1093/biomet/33.3.239.
    """
    found = []
    for reader in readers_of(judgements):
        screens = _screens(j for j in judgements if j.reader == reader)
        answers = [j for screen in screens for j in screen]
        right = [(j.verdict.order, float(right)) for j in answers if (right := is_right(j)) is not None]
        accepting = [(j.verdict.order, float(yes)) for j in answers if (yes := accepts(j)) is not None]
        timed = [(s[0].verdict.order, s[0].verdict.seconds) for s in screens]
        for what, points in (("seconds", timed), ("right", right), ("accepted", accepting)):
            if len(points) > 2:
                found.append(_trend(reader, what, points))
    return tuple(found)


def _screens(judgements: Iterable[Judgement]) -> list[list[Judgement]]:
    """Return the answers of each screen of one reader, in the order of the session."""
    found: dict[int, list[Judgement]] = {}
    for judgement in judgements:
        found.setdefault(judgement.verdict.order, []).append(judgement)
    return [found[order] for order in sorted(found)]


def _stretch(reader: str, part: int, parts: int, screens: Sequence[Sequence[Judgement]]) -> Stretch:
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


def _trend(reader: str, what: str, points: Sequence[tuple[int, float]]) -> Trend:
    order, values = zip(*points, strict=True)
    found = kendalltau(order, values)
    if not np.isfinite(found.statistic):  # all values alike
        return Trend(reader, what, len(points), None, None)
    return Trend(reader, what, len(points), float(found.statistic), float(found.pvalue))
