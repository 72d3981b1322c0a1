"""A small review that is made by hand: eight screens, three readers, no pictures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hemabridge.review.records import Question
from hemabridge.review.session import Answer, Reader, current_screen, reader_of, submit
from hemabridge.review.store import NewReader, Screen, Store

TOKENS = {name: f"{name}-token-of-this-reader-000000000" for name in ("Ana", "Ben", "Cem")}
SCREENS = tuple(
    Screen(
        f"screen-{number}",
        asks=((f"item-{number}", Question.LABORATORY),)
        if number % 2
        else ((f"item-{number}", Question.STAIN), (f"fault-{number}", Question.STAIN_FAULTS)),
        pictures=(f"picture-{number}",),
        practice=number == 0,
    )
    for number in range(8)
)


def readers_of(screens: tuple[Screen, ...]) -> list[NewReader]:
    order = tuple(screen.id for screen in screens)
    return [
        NewReader("Ana", TOKENS["Ana"], order, ("blast", "neutrophil"), "en"),
        NewReader("Ben", TOKENS["Ben"], order[:1] + order[:0:-1], ("neutrophil", "blast"), "es"),
        NewReader("Cem", TOKENS["Cem"], order, ("blast", "neutrophil"), "en"),
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "review.sqlite", {"title": "Blood cells"}, SCREENS, readers_of(SCREENS)) as made:
        yield made


@pytest.fixture
def reader_named(store: Store) -> Callable[[str], Reader]:
    def find(name: str) -> Reader:
        found = reader_of(store, TOKENS[name])
        assert found is not None
        return found

    return find


@pytest.fixture
def answer_next(store: Store, reader_named: Callable[[str], Reader]) -> Callable[..., str]:
    """A function by which a reader gives an answer to each item of the current screen; returns the screen's id."""

    def answer(name: str, text: str = "target", *, seconds: float | None = None, now: float = 0.0) -> str:
        reader = reader_named(name)
        current = current_screen(store, reader)
        assert current is not None
        place, screen = current
        answers = [Answer(item, text) for item, _ in screen.asks]
        submission = f"{name}-{screen.id}-{text}-{place}"
        outcome = submit(store, reader, screen.id, submission, answers, seconds=seconds, now=now)
        assert outcome.value == "stored"
        return screen.id

    return answer
