"""The possible answers to each question, their keyboard keys, and the reading of submitted forms."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hemabridge.evaluation.languages import cell_type_name
from hemabridge.review.records import Question
from hemabridge.review.session import Answer, Reader
from hemabridge.review.store import Screen
from hemabridge.review.texts import text

UNSURE: Final = "unsure"

ANSWERS: Final[Mapping[Question, tuple[str, ...]]] = {
    Question.LABORATORY: ("target", "other"),
    Question.ARTIFICIAL: ("real", "artificial"),
    Question.STAIN: ("1", "2", "3", "4", "5"),
    Question.STAIN_FAULTS: ("nucleus", "cytoplasm", "granules", "background"),
    Question.MORPHOLOGY: ("unchanged", "changed"),
    Question.PREFERENCE: ("left", "right", "equal"),
}
"""Answers to all questions but `CELL_TYPE`, whose answers are those of the review."""

KEYS: Final = "123456789abcdefghijklmnoqrstvwxyz"
"""Keyboard keys of the answers, in order; 0, u and p are used for zoom, undo and breaks."""

CHANGED: Final = "changed"
NINTHS: Final = 9


@dataclass(frozen=True)
class Option:
    """One answer as a button: its value, its label, and its keyboard key (empty if none is left)."""

    value: str
    label: str
    key: str


@dataclass(frozen=True)
class Asked:
    """One question as a form shows it.

    Attributes:
        item: id of the item, and name of the form's field.
        question: the question.
        legend: its text.
        options: in their order.
        several: whether several options can be chosen.
    """

    item: str
    question: Question
    legend: str
    options: tuple[Option, ...]
    several: bool


def answers_to(question: Question, reader: Reader) -> tuple[str, ...]:
    """Return the possible answers, in the order of the buttons."""
    if question is Question.CELL_TYPE:
        return (*reader.cell_types, UNSURE)
    return ANSWERS[question]


def asked_on(screen: Screen, reader: Reader, home: str) -> list[Asked]:
    """Return the questions of a screen in the reader's language, with a different key for each answer."""
    keys = iter(KEYS)
    return [
        Asked(
            item,
            question,
            text(reader.language, question.value),
            tuple(
                Option(value, _label(question, value, reader.language, home), next(keys, ""))
                for value in answers_to(question, reader)
            ),
            several=question is Question.STAIN_FAULTS,
        )
        for item, question in screen.asks
    ]


def read_answers(screen: Screen, reader: Reader, fields: Mapping[str, Sequence[str]]) -> list[Answer] | None:
    """Return the answers to all items of a screen from a form's fields; None if one is missing or invalid.

    The position of a change is given as `x` and `y`, shares of the picture's sides, or as `ninth`, 0..8 row by row.
    """
    found = []
    for item, question in screen.asks:
        given = fields.get(item, ())
        allowed = answers_to(question, reader)
        if question is Question.STAIN_FAULTS:
            if not set(given) <= set(allowed):
                return None
            found.append(Answer(item, ",".join(value for value in allowed if value in given)))
            continue
        if len(given) != 1 or given[0] not in allowed:
            return None
        place = _place(fields) if given[0] == CHANGED and question is Question.MORPHOLOGY else None
        if given[0] == CHANGED and place is None:
            return None
        found.append(Answer(item, given[0], place))
    return found


def number_in(fields: Mapping[str, Sequence[str]], name: str) -> float | None:
    """Return a finite number of a form; None if the field is missing or not a finite number."""
    given = fields.get(name, ())
    if len(given) != 1 or len(given[0]) > 40:
        return None
    try:
        number = float(given[0])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _place(fields: Mapping[str, Sequence[str]]) -> tuple[float, float] | None:
    x, y = number_in(fields, "x"), number_in(fields, "y")
    if x is None or y is None:
        ninth = number_in(fields, "ninth")
        if ninth is None or ninth not in range(NINTHS):
            return None
        row, column = divmod(int(ninth), 3)
        return (2 * column + 1) / 6, (2 * row + 1) / 6
    return (x, y) if 0 <= x <= 1 and 0 <= y <= 1 else None


def _label(question: Question, value: str, language: str, home: str) -> str:
    if question is Question.CELL_TYPE and value != UNSURE:
        return cell_type_name(language, value)
    if question is Question.LABORATORY and value == "target" and home:
        return text(language, "laboratory_home", home=home)
    return text(language, f"{question.value}_{value}")


def sentences(language: str, screens: int) -> Iterator[str]:
    """Yield the five sentences of instruction before the first picture."""
    for number in range(1, 6):
        yield text(language, f"about_{number}", screens=screens)
