"""Readers that are made up, with known behavior."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from hemabridge.review.records import Item, Question, Verdict

ARMS = ("original", "epoch-0010", "epoch-0020", "target")
TYPES = ("blast", "neutrophil")


def cell_named(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def make_items(questions: Sequence[Question], cells: int, arms: Sequence[str], repeats: int) -> list[Item]:
    """Each question of each arm, alone on its screen; the first few screens again; one practice item."""
    found = []
    for question in questions:
        for number in range(cells):
            for place, arm in enumerate(arms):
                site = "ours" if arm == "target" else "theirs"
                name = f"{question.value}-{number:03d}-{place}"
                shown = (arm,)
                if question is Question.MORPHOLOGY:
                    shown = ("original", arm)
                if question is Question.PREFERENCE:
                    other = arms[(place + 1) % len(arms)]
                    shown = (arm, other) if number % 2 else (other, arm)
                cell = cell_named(f"{site} {number}")
                found.append(Item(f"{name}-item", question, f"{name}-screen", shown, cell, TYPES[number % 2], site))
    again = [
        replace(item, item=f"{item.item}-2", shown=f"{item.shown}-2", repeat_of=item.item) for item in found[:repeats]
    ]
    practice = replace(found[0], item=f"{found[0].item}-practice", shown=f"{found[0].shown}-practice", practice=True)
    return [practice, *found, *again]


@pytest.fixture(scope="session")
def items_of() -> Callable[..., list[Item]]:
    def make(*questions: Question, cells: int = 20, arms: Sequence[str] = ARMS, repeats: int = 0) -> list[Item]:
        return make_items(questions, cells, arms, repeats)

    return make


@pytest.fixture(scope="session")
def read() -> Callable[..., list[Verdict]]:
    """A function by which a reader answers all items; `says` gives an answer for an item and a random generator."""

    def answer(
        reader: str,
        items: Sequence[Item],
        says: Callable[[Item, np.random.Generator], str],
        *,
        seed: int = 0,
        seconds: Callable[[int], float] = lambda order: 4.0,
    ) -> list[Verdict]:
        rng = np.random.default_rng(seed)
        screens = list(dict.fromkeys(item.shown for item in items))
        shuffled = {screen: place for place, screen in enumerate(rng.permutation(screens))}
        found = []
        for item in items:
            order = shuffled[item.shown]
            said = says(item, rng)
            place = (0.25, 0.5) if said == "changed" else None
            found.append(Verdict(reader, item.item, said, seconds(order), order, place))
        return found

    return answer
