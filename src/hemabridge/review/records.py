"""What a review is made of: items that readers see and verdicts that they give. The page and unblinding share no more.

An `Item` names the arm, so only `review create` and unblinding may hold one; the page knows opaque ids alone.
"""

from dataclasses import dataclass
from enum import StrEnum


class Question(StrEnum):
    """What a reader is asked about an item; the answers are in brackets."""

    LABORATORY = "laboratory"
    """Which laboratory does the cell come from? [target | other]"""
    ARTIFICIAL = "artificial"
    """Was the picture made by a camera or by a program? [real | artificial]"""
    STAIN = "stain"
    """Is the stain acceptable for reading? [1 (no) .. 5 (as at home)]"""
    STAIN_FAULTS = "stain_faults"
    """What is wrong with it? [nucleus, cytoplasm, granules, background: those that are, in this order; empty: none]"""
    MORPHOLOGY = "morphology"
    """Beside the original: is the cell's morphology unchanged? [unchanged | changed, and then a place]"""
    CELL_TYPE = "cell_type"
    """Which type of cell? [a class of the study | unsure]"""
    PREFERENCE = "preference"
    """Which of two pictures is better for reading? [left | right | equal]"""


@dataclass(frozen=True)
class Item:
    """One task of a reader, as `review create` drew it.

    Args:
        item: opaque id, unguessable; all that the page knows of the item.
        question: what is asked; an item that shows several questions at once is one `Item` for each, with one `shown`.
        shown: opaque id of the screen: items of one screen share it.
        arms: the arm of each picture from left to right. One for most questions; ("original", arm) for morphology,
            the original being named to the reader; two in random order for a preference.
        cell: identity of the cell, the same in all arms and repeats (SHA-256 of the original file).
        cell_type: its class in the manifest; empty where none is known.
        site: where the photograph was taken.
        repeat_of: the item that this one repeats for agreement within a reader; None for a first showing.
        practice: shown in the practice round and left out of all results.
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
    """What one reader said of one item: the last answer, if it was undone and given again.

    Args:
        reader: name of the reader.
        item: id of the item.
        answer: as listed at the `Question`; faults are joined with commas.
        place: where the morphology changed: x and y from the top left corner as shares of the picture, 0..1.
        seconds: time from the picture's first showing to the answer, breaks not counted, > 0.
        order: place of the item's screen in this reader's session, from 0.
    """

    reader: str
    item: str
    answer: str
    seconds: float
    order: int
    place: tuple[float, float] | None = None
