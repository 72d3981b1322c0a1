"""Unblinded verdicts: each answer joined with its item in the key."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hemabridge.errors import RunError
from hemabridge.review.arms import ORIGINAL, TARGET
from hemabridge.review.questions import ANSWERS, CHANGED, UNSURE
from hemabridge.review.records import Item, Question, Verdict

FAULTS: Final = ANSWERS[Question.STAIN_FAULTS]
EQUAL: Final = "equal"
LONGEST_ANSWER: Final = 200


@dataclass(frozen=True)
class Truth:
    """The origin of the arms: `target` has photographs of the target's laboratory, `photographs` those of others.

    All other arms are made by a program.
    """

    target: str = TARGET
    photographs: tuple[str, ...] = (ORIGINAL,)


@dataclass(frozen=True)
class Judgment:
    """One answer to one aspect of one item, with the information that was hidden from the reader.

    Attributes:
        aspect: the question; for faults of the stain one aspect for each fault, such as `stain_faults: nucleus`.
        answer: as at the `Question`; for a fault `present` or `absent`; for a preference the arm, or `equal`.
        item: the item in the key.
        verdict: the reader's verdict.
        is_photograph: whether the picture is a photograph and not made by a program.
        is_target: whether it is a photograph of the target's laboratory.
    """

    aspect: str
    answer: str
    item: Item
    verdict: Verdict
    is_photograph: bool = False
    is_target: bool = False

    @property
    def reader(self) -> str:
        """Name of the reader."""
        return self.verdict.reader

    @property
    def arm(self) -> str:
        """The arm that the answer is about; for morphology that of the picture beside the original."""
        return self.item.arms[-1]


def join(items: Sequence[Item], verdicts: Iterable[Verdict], truth: Truth | None = None) -> list[Judgment]:
    """Return all judgments without practice, in the order of the verdicts.

    Args:
        items: of the key.
        verdicts: of the store.
        truth: the origin of the arms.

    Raises:
        RunError: a verdict is about an unknown item, occurs twice, or is not a possible answer to its question.
    """
    key = {item.item: item for item in items}
    truth = truth or Truth()
    seen: set[tuple[str, str]] = set()
    found: list[Judgment] = []
    for verdict in verdicts:
        item = key.get(verdict.item)
        if item is None:
            raise RunError(
                f"expected verdicts on the items of this review's key, got one on {verdict.item[:80]!r}; "
                "key and store are of different reviews"
            )
        if (verdict.reader, verdict.item) in seen:
            raise RunError(f"expected one verdict of {verdict.reader!r} on {verdict.item}, got two")
        seen.add((verdict.reader, verdict.item))
        _check(item, verdict)
        if not item.practice:
            photograph, target = item.arms[-1] in (*truth.photographs, truth.target), item.arms[-1] == truth.target
            found += [replace(j, is_photograph=photograph, is_target=target) for j in _aspects(item, verdict)]
    return found


def check_together(items: Sequence[Item], stored: Iterable[tuple[str, str, str]]) -> None:
    """Make sure that key and store belong to the same review.

    Args:
        items: of the key.
        stored: id, screen and question of each item of the store.

    Raises:
        RunError: they differ in any item.
    """
    ours = {(item.item, item.shown, item.question.value) for item in items}
    theirs = set(stored)
    if ours != theirs:
        raise RunError(
            f"expected the {len(ours)} items of the key in the store, got {len(theirs)}, of which "
            f"{len(ours & theirs)} are the same; key and store are of different reviews, or one was changed"
        )


def first_showings(judgments: Iterable[Judgment]) -> list[Judgment]:
    """Return the judgments without repeats."""
    return [j for j in judgments if j.item.repeat_of is None]


def readers_of(judgments: Iterable[Judgment]) -> tuple[str, ...]:
    """Return the readers, sorted by name."""
    return tuple(sorted({j.reader for j in judgments}))


def by_aspect(judgments: Iterable[Judgment]) -> dict[str, list[Judgment]]:
    """Group by aspect, in the order of `Question` and of `FAULTS`."""
    groups: dict[str, list[Judgment]] = {}
    for judgment in judgments:
        groups.setdefault(judgment.aspect, []).append(judgment)
    order = [aspect for question in Question for aspect in aspects_of(question)]
    return {aspect: groups[aspect] for aspect in order if aspect in groups}


def aspects_of(question: Question) -> tuple[str, ...]:
    """Return the aspects of a question."""
    if question is Question.STAIN_FAULTS:
        return tuple(f"{question.value}: {fault}" for fault in FAULTS)
    return (question.value,)


def categories_of(aspect: str, judgments: Sequence[Judgment]) -> tuple[str, ...]:
    """Return the possible answers to an aspect; those of a scale in their order."""
    if aspect.startswith(Question.STAIN_FAULTS):
        return ("absent", "present")
    if aspect == Question.CELL_TYPE:
        named = {j.item.cell_type for j in judgments} | {j.answer for j in judgments}
        return (*sorted(named - {"", UNSURE}), UNSURE)
    if aspect == Question.PREFERENCE:
        # Answers to different pairs of arms are comparable as first or second of the pair, sorted by name.
        return ("first", EQUAL, "second")
    return ANSWERS[Question(aspect)]


def category(judgment: Judgment) -> str:
    """Return the answer as one of `categories_of`."""
    if judgment.item.question is not Question.PREFERENCE or judgment.answer == EQUAL:
        return judgment.answer
    return "first" if judgment.answer == min(judgment.item.arms) else "second"


def _aspects(item: Item, verdict: Verdict) -> list[Judgment]:
    if item.question is Question.STAIN_FAULTS:
        named = set(verdict.answer.split(",")) if verdict.answer else set()
        return [
            Judgment(aspect, "present" if fault in named else "absent", item, verdict)
            for aspect, fault in zip(aspects_of(item.question), FAULTS, strict=True)
        ]
    answer = verdict.answer
    if item.question is Question.PREFERENCE and answer != EQUAL:
        answer = item.arms[0 if answer == "left" else 1]
    return [Judgment(item.question.value, answer, item, verdict)]


def _check(item: Item, verdict: Verdict) -> None:
    inside = verdict.place is None or (verdict.answer == CHANGED and _is_inside(verdict.place))
    timed = math.isfinite(verdict.seconds) and verdict.seconds > 0 and verdict.order >= 0
    if not (_is_answer(item.question, verdict.answer) and inside and timed):
        raise RunError(
            f"expected an answer to {item.question.value} with seconds above 0 and a place inside of the picture, got "
            f"{verdict.answer[:80]!r} of {verdict.reader!r} on {item.item}; the store was changed by something else"
        )


def _is_inside(place: tuple[float | None, float | None]) -> bool:
    """Return whether both coordinates exist and are inside the picture; a damaged store may hold only one."""
    return all(share is not None and math.isfinite(share) and 0 <= share <= 1 for share in place)


def _is_answer(question: Question, answer: str) -> bool:
    if question is Question.STAIN_FAULTS:
        return answer == ",".join(fault for fault in FAULTS if fault in answer.split(","))
    if question is Question.CELL_TYPE:
        return 0 < len(answer) <= LONGEST_ANSWER and answer.isprintable()
    return answer in ANSWERS[question]
