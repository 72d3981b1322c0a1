"""The items of a review, and the readers' verdicts.

An `Item` states its arm; only `review create` and unblinding use it. The pages use opaque ids.
"""

from dataclasses import dataclass
from enum import StrEnum


class Question(StrEnum):
    """The questions to readers about an item; the answers are in brackets."""

    LABORATORY = "laboratory"
    """Which laboratory does the cell come from? [target | other]"""
    ARTIFICIAL = "artificial"
    """Was the picture made by a camera or by a program? [real | artificial]"""
    STAIN = "stain"
    """Is the stain acceptable for reading? [1 (no) .. 5 (as in the reader's own laboratory)]"""
    STAIN_FAULTS = "stain_faults"
    """What is wrong with it? [any of nucleus, cytoplasm, granules, background, in this order; empty if nothing]"""
    MORPHOLOGY = "morphology"
    """Compared with the original: is the cell's morphology unchanged? [unchanged | changed, with a position]"""
    CELL_TYPE = "cell_type"
    """Which type of cell? [a class of the study | unsure]"""
    PREFERENCE = "preference"
    """Which of two pictures is better for reading? [left | right | equal]"""


@dataclass(frozen=True)
class Item:
    """One task of a reader, drawn by `review create`.

    Args:
        item: opaque, unguessable id; the only information about the item on the page.
        question: the question; a screen with several questions has one `Item` for each, with the same `shown`.
        shown: opaque id of the screen, which its items share.
        arms: the arm of each picture from left to right. One for most questions; ("original", arm) for morphology,
            where the reader is told which is the original; two in random order for a preference.
        cell: identity of the cell, the same in all arms and repeats (SHA-256 of the original file).
        cell_type: its class in the manifest; empty if unknown.
        site: where the photograph was taken.
        repeat_of: the item that this one repeats, to measure intra-reader agreement; None for a first showing.
        practice: whether it belongs to the practice round, which is excluded from all results.
    """

    item: str
    question: Question
    shown: str
    arms: tuple[str, ...]
    cell: str
    cell_type: str
    site: str
    repeat_of: str | None = None
    practice: bool = False


@dataclass(frozen=True)
class Verdict:
    """One reader's answer to one item; the last one, if it was undone and given again.

    Args:
        reader: name of the reader.
        item: id of the item.
        answer: as listed at the `Question`; faults are joined with commas.
        place: position of the changed morphology: x and y from the top left corner, as shares of the picture, 0..1.
        seconds: time from the picture's first showing to the answer without breaks, > 0.
        order: index of the item's screen in this reader's session, from 0.
    """

    reader: str
    item: str
    answer: str
    seconds: float
    order: int
    place: tuple[float, float] | None = None
