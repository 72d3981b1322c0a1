"""Scores of each arm: what readers took its pictures for, accepted, classified and preferred."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.reading import ArmScore, Estimate, Interval, Preferred, TellingApart
from hemabridge.metrics.reader_statistics import detect
from hemabridge.metrics.resampling import DRAWS
from hemabridge.metrics.statistics import holm, mcnemar_exact, wilson_interval
from hemabridge.review.arms import ORIGINAL, TARGET
from hemabridge.review.bootstrap import draw_sums, estimate, estimate_share, interval_of, ratio
from hemabridge.review.judgments import (
    EQUAL,
    FAULTS,
    Judgment,
    aspects_of,
    first_showings,
    readers_of,
)
from hemabridge.review.questions import UNSURE
from hemabridge.review.records import Question

Floats = NDArray[np.float64]

ACCEPTED_GRADE: Final = 4
"""A stain of this grade or better is accepted for reading."""

MEAN: Final = "stain, mean"
ACCEPTED: Final = "accepted"


@dataclass(frozen=True)
class Score:
    """The value of one answer in one measure: 0 or 1, or a grade."""

    reader: str
    cell: str
    arm: str
    value: float


def accepts(judgment: Judgment) -> bool | None:
    """Return whether an answer on stain or morphology accepts the picture; None for all other questions."""
    if judgment.aspect == Question.STAIN:
        return int(judgment.answer) >= ACCEPTED_GRADE
    return judgment.answer == "unchanged" if judgment.aspect == Question.MORPHOLOGY else None


def is_right(judgment: Judgment) -> bool | None:
    """Return whether an answer is correct: on laboratory, on real or artificial, and on cell type.

    None for all other questions, and if the cell type is not in the key.
    """
    if judgment.aspect == Question.LABORATORY:
        return judgment.answer == ("target" if judgment.is_target else "other")
    if judgment.aspect == Question.ARTIFICIAL:
        return judgment.answer == ("real" if judgment.is_photograph else "artificial")
    if judgment.aspect == Question.CELL_TYPE and judgment.item.cell_type:
        return judgment.answer == judgment.item.cell_type
    return None


def _says(aspect: str, answer: str) -> Callable[[Judgment], float | None]:
    return lambda j: float(j.answer == answer) if j.aspect == aspect else None


def _right(aspect: str) -> Callable[[Judgment], float | None]:
    def score(judgment: Judgment) -> float | None:
        right = is_right(judgment) if judgment.aspect == aspect else None
        return None if right is None else float(right)

    return score


def _accepting(aspect: str) -> Callable[[Judgment], float | None]:
    return lambda j: float(bool(accepts(j))) if j.aspect == aspect else None


MEASURES: Final[dict[str, Callable[[Judgment], float | None]]] = {
    "stain, 4 or 5": _accepting(Question.STAIN),
    MEAN: lambda j: float(j.answer) if j.aspect == Question.STAIN else None,
    "morphology unchanged": _accepting(Question.MORPHOLOGY),
    **{
        f"fault: {fault}": _says(aspect, "present")
        for fault, aspect in zip(FAULTS, aspects_of(Question.STAIN_FAULTS), strict=True)
    },
    "taken for the target's": _says(Question.LABORATORY, "target"),
    "laboratory, right": _right(Question.LABORATORY),
    "taken for real": _says(Question.ARTIFICIAL, "real"),
    "real or artificial, right": _right(Question.ARTIFICIAL),
    "cell type, right": _right(Question.CELL_TYPE),
    "cell type, unsure": _says(Question.CELL_TYPE, UNSURE),
}
"""Measures by name; each scores an answer, or returns None. `accepted` is separate, since it combines answers."""


def arm_scores(judgments: Sequence[Judgment], draws: int = DRAWS) -> tuple[ArmScore, ...]:
    """Return every measure of every arm, for all readers and for each one; first showings only.

    `accepted` comes first: the share of (reader, cell) with no refusal in the answers on stain and morphology, that is
    no stain below `ACCEPTED_GRADE` and no changed morphology.
    """
    first = first_showings(judgments)
    found = _scored(ACCEPTED, accepted(first), draws)
    for measure, score in MEASURES.items():
        valued = ((j, score(j)) for j in first)
        scores = [Score(j.reader, j.item.cell, j.arm, value) for j, value in valued if value is not None]
        found += _scored(measure, scores, draws)
    return tuple(found)


def accepted(judgments: Iterable[Judgment]) -> list[Score]:
    """Return for each reader, cell and arm with an answer on stain or morphology whether the reader accepted it."""
    found: dict[tuple[str, str, str], bool] = {}
    for judgment in judgments:
        verdict = accepts(judgment)
        if verdict is not None:
            place = judgment.reader, judgment.item.cell, judgment.arm
            found[place] = found.get(place, True) and verdict
    return [Score(*place, float(verdict)) for place, verdict in found.items()]


def discrimination(judgments: Sequence[Judgment], draws: int = DRAWS) -> tuple[TellingApart, ...]:
    """Return d' of every arm against photographs, for `artificial`, and against the target's, for `laboratory`."""
    found = []
    for aspect, signal in ((Question.ARTIFICIAL, "artificial"), (Question.LABORATORY, "other")):
        own = [j for j in first_showings(judgments) if j.aspect == aspect]
        is_noise = {id(j): j.is_photograph if aspect is Question.ARTIFICIAL else j.is_target for j in own}
        noises = [j for j in own if is_noise[id(j)]]
        for arm in _arms(j.arm for j in own if not is_noise[id(j)]):
            signals = [j for j in own if j.arm == arm]
            for reader in (None, *readers_of(own)):
                mine = [[j for j in side if reader in (None, j.reader)] for side in (signals, noises)]
                if mine[0] and mine[1]:
                    found.append(_discrimination(arm, reader, mine[0], mine[1], signal, draws))
    return tuple(found)


def preferences(judgments: Sequence[Judgment], draws: int = DRAWS) -> tuple[Preferred, ...]:
    """Return each pair of arms that readers compared; p values are corrected over the pairs."""
    own = [j for j in first_showings(judgments) if j.aspect == Question.PREFERENCE]
    pairs: dict[tuple[str, ...], list[Judgment]] = {}
    for judgment in own:
        pairs.setdefault(tuple(sorted(judgment.item.arms)), []).append(judgment)
    p_values = [_sign_test(pair[0], answers) for pair, answers in pairs.items()]
    return tuple(
        _preferred(pair[0], pair[1], answers, p, p_holm, draws)
        for (pair, answers), p, p_holm in zip(pairs.items(), p_values, holm(p_values), strict=True)
    )


def _scored(measure: str, scores: Sequence[Score], draws: int) -> list[ArmScore]:
    if not scores:
        return []
    arms = _arms(s.arm for s in scores)
    columns = np.zeros((len(scores), 2 * len(arms)))
    for row, score in enumerate(scores):
        place = arms.index(score.arm)
        columns[row, [place, len(arms) + place]] = score.value, 1.0
    summed = draw_sums(columns, [s.cell for s in scores], draws)
    drawn = None if summed is None else ratio(summed[:, : len(arms)], summed[:, len(arms) :])
    found = []
    for place, arm in enumerate(arms):
        own = [s for s in scores if s.arm == arm]
        interval = None if drawn is None else interval_of(drawn[:, place])
        difference = _difference(scores, arms, arm, drawn)
        found.append(_score(measure, arm, None, own, interval or _of_all_alike(measure, own, draws), difference))
        for reader in sorted({s.reader for s in own}):
            mine = [s for s in own if s.reader == reader]
            found.append(_score(measure, arm, reader, mine, _wilson(measure, mine)))
    return found


def _score(
    measure: str,
    arm: str,
    reader: str | None,
    scores: Sequence[Score],
    interval: Interval | None,
    difference: Estimate | None = None,
) -> ArmScore:
    cells, share = len({s.cell for s in scores}), float(np.mean([s.value for s in scores]))
    return ArmScore(measure, arm, reader, len(scores), cells, share, interval, difference)


def _difference(scores: Sequence[Score], arms: Sequence[str], arm: str, drawn: Floats | None) -> Estimate | None:
    if ORIGINAL not in arms or arm == ORIGINAL:
        return None
    means = [float(np.mean([s.value for s in scores if s.arm == name])) for name in (arm, ORIGINAL)]
    interval = None
    if drawn is not None:
        interval = interval_of(drawn[:, arms.index(arm)] - drawn[:, arms.index(ORIGINAL)])
    return Estimate(means[0] - means[1], interval)


def _of_all_alike(measure: str, scores: Sequence[Score], draws: int) -> Interval | None:
    """Return the interval of a share of 0 or 1, for which all draws are equal; None for grades."""
    values = {score.value for score in scores}
    if measure == MEAN or len(values) > 1:
        return None
    return estimate_share([values == {1.0}] * len(scores), [score.cell for score in scores], draws).interval


def _wilson(measure: str, scores: Sequence[Score]) -> Interval | None:
    return None if measure == MEAN else wilson_interval(round(sum(s.value for s in scores)), len(scores))


def _discrimination(
    arm: str,
    reader: str | None,
    signals: Sequence[Judgment],
    noises: Sequence[Judgment],
    signal: str,
    draws: int,
) -> TellingApart:
    columns = np.array(
        [[j.answer == signal, 1, 0, 0] for j in signals] + [[0, 0, j.answer == signal, 1] for j in noises]
    )
    columns = columns.astype(np.float64)
    cells = [j.item.cell for j in (*signals, *noises)]
    hits, n, false_alarms, m = columns.sum(axis=0)
    return TellingApart(
        aspect=signals[0].aspect,
        arm=arm,
        reader=reader,
        hits=int(hits),
        signals=int(n),
        false_alarms=int(false_alarms),
        noises=int(m),
        d_prime=estimate(columns, cells, [lambda sums: detect(*np.moveaxis(sums, -1, 0)).d_prime], draws)[0],
        criterion=float(detect(hits, n, false_alarms, m).criterion),
    )


def _sign_test(first: str, answers: Sequence[Judgment]) -> float:
    """Return p of the exact sign test; each cell counts for the arm that most of its decided answers prefer."""
    votes: dict[str, int] = {}
    for judgment in answers:
        vote = 0 if judgment.answer == EQUAL else 1 if judgment.answer == first else -1
        votes[judgment.item.cell] = votes.get(judgment.item.cell, 0) + vote
    return mcnemar_exact(sum(v > 0 for v in votes.values()), sum(v < 0 for v in votes.values()))


def _preferred(first: str, second: str, answers: Sequence[Judgment], p: float, p_holm: float, draws: int) -> Preferred:
    decided = [j for j in answers if j.answer != EQUAL]
    hits = [j.answer == first for j in decided]
    return Preferred(
        first=first,
        second=second,
        first_better=sum(hits),
        second_better=len(hits) - sum(hits),
        equal=len(answers) - len(hits),
        cells=len({j.item.cell for j in answers}),
        share=estimate_share(hits, [j.item.cell for j in decided], draws),
        p=p,
        p_holm=p_holm,
    )


def _arms(names: Iterable[str]) -> list[str]:
    """Return the distinct names: originals first, the target last, the others sorted between them."""
    return sorted(set(names), key=lambda name: (name != ORIGINAL, name == TARGET, name))
