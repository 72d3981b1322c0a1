"""The session of one reader: current screen, answers, undo and time, all kept in the store."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hemabridge.review.records import Question
from hemabridge.review.store import Screen, Store, hashed
from hemabridge.storage.file_kind import FileKind

_CELL_TYPES: Final = FileKind("the cell types of a reader", remedy="restore the folder of the review")

LONGEST_SECONDS = 3600.0
"""Longest time of a screen in seconds; a screen that is open for longer was not being read."""

SHORTEST_SECONDS = 0.01


class Outcome(Enum):
    """The result of a submission."""

    STORED = "stored"
    REPLAYED = "replayed"
    """It was already stored; nothing changed."""
    REFUSED = "refused"
    """It is not of the reader's current screen; nothing changed."""


@dataclass(frozen=True)
class Reader:
    """A reader, with the information that the pages use.

    Attributes:
        id: number in the store.
        language: of the pages.
        cell_types: in this reader's order of buttons.
        begun: whether the reader has opened a screen.
    """

    id: int
    language: str
    cell_types: tuple[str, ...]
    begun: bool


@dataclass(frozen=True)
class Answer:
    """An answer to one item; `place` as in `Verdict`."""

    item: str
    answer: str
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of a reader.

    Attributes:
        done: number of screens with a valid answer.
        total: number of all screens.
        practice: number of screens of the practice round, which come first.
        seconds_each: median time per screen so far, in seconds; None before the first.
    """

    done: int
    total: int
    practice: int
    seconds_each: float | None

    @property
    def left(self) -> int:
        """Number of screens without an answer."""
        return self.total - self.done


def reader_of(store: Store, token: str) -> Reader | None:
    """Return the reader whose URL has this token; None for an invalid token."""
    found = store.rows("SELECT id, language, cell_types, begun_at FROM reader WHERE token_hash = ?", (hashed(token),))
    if not found:
        return None
    number, language, cell_types, begun_at = found[0]
    return Reader(number, language, tuple(_CELL_TYPES.parse_json(cell_types)), begun_at is not None)


def name_of(store: Store, reader: Reader) -> str:
    """Return a reader's name, for that reader's own first page."""
    return str(store.rows("SELECT name FROM reader WHERE id = ?", (reader.id,))[0][0])


def set_language(store: Store, reader: Reader, language: str) -> None:
    """Keep the language that a reader chose."""
    with store.transaction() as connection:
        connection.execute("UPDATE reader SET language = ? WHERE id = ?", (language, reader.id))


def current_screen(store: Store, reader: Reader) -> tuple[int, Screen] | None:
    """Return position and screen that the reader has to answer next; None at the end."""
    places = _places_left(store, reader, 1)
    return _turn_at(store, reader, places[0]) if places else None


def next_screen(store: Store, reader: Reader) -> tuple[int, Screen] | None:
    """Return the screen after the current one, whose pictures can be loaded in advance; None at the end."""
    places = _places_left(store, reader, 2)
    return _turn_at(store, reader, places[1]) if len(places) == 2 else None


def may_see(store: Store, reader: Reader, picture: str) -> bool:
    """Return whether a picture is on a screen that is answered, current or next for the reader."""
    query = """
        SELECT turn.place FROM picture JOIN turn ON turn.screen = picture.screen
        WHERE picture.id = ? AND turn.reader = ?"""
    found = store.rows(query, (picture, reader.id))
    left = _places_left(store, reader, 2)
    return bool(found) and (not left or int(found[0][0]) <= left[-1])


def progress_of(store: Store, reader: Reader) -> Progress:
    """Return the progress of a reader."""
    query = """
        SELECT count(*), coalesce(sum(screen.practice), 0) FROM turn JOIN screen ON screen.id = turn.screen
        WHERE turn.reader = ?"""
    total, practice = store.rows(query, (reader.id,))[0]
    query = "SELECT seconds FROM submission WHERE reader = ? AND undone_at IS NULL ORDER BY seconds"
    seconds = [row[0] for row in store.rows(query, (reader.id,))]
    return Progress(len(seconds), total, practice, seconds[len(seconds) // 2] if seconds else None)


def show(store: Store, reader: Reader, screen: Screen, now: float) -> None:
    """Record that a screen is shown; its time starts with the first showing."""
    with store.transaction(durable=False) as connection:
        connection.execute("UPDATE reader SET begun_at = coalesce(begun_at, ?) WHERE id = ?", (now, reader.id))
        connection.execute(
            """INSERT INTO attention VALUES (?, ?, ?, 0)
            ON CONFLICT (reader, screen) DO UPDATE SET shown_at = excluded.shown_at""",
            (reader.id, screen.id, now),
        )


def leave(store: Store, reader: Reader, screen: str, seconds: float | None, now: float) -> None:
    """Add the time of a screen that is left without an answer: a break, a closed tab. Unknown screens are ignored."""
    with store.transaction(durable=False) as connection:
        spent = _spent(connection, reader, screen, seconds, now)
        connection.execute(
            "UPDATE attention SET spent = ?, shown_at = ? WHERE reader = ? AND screen = ?",
            (spent, now, reader.id, screen),
        )


def submit(
    store: Store,
    reader: Reader,
    screen: str,
    submission: str,
    answers: Sequence[Answer],
    *,
    seconds: float | None,
    now: float,
) -> Outcome:
    """Store the answers to a screen, all of them or none.

    Args:
        store: of the review.
        reader: who answers.
        screen: the screen of the answers; only the reader's current one is accepted.
        submission: id of this submission; a second one with the same id changes nothing.
        answers: one for each item of the screen.
        seconds: time since the screen was shown, counted by the page; None if it cannot count.
        now: seconds since the epoch.
    """
    with store.transaction() as connection:
        known = "SELECT 1 FROM submission WHERE reader = ? AND id = ?"
        if connection.execute(known, (reader.id, submission)).fetchone():
            return Outcome.REPLAYED
        current = current_screen(store, reader)
        if current is None or current[1].id != screen or {a.item for a in answers} != {i for i, _ in current[1].asks}:
            return Outcome.REFUSED
        spent = max(SHORTEST_SECONDS, _spent(connection, reader, screen, seconds, now))
        connection.execute(
            "INSERT INTO submission VALUES (?, ?, ?, ?, ?, NULL)", (reader.id, submission, screen, now, spent)
        )
        connection.executemany(
            "INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?)",
            [(reader.id, submission, a.item, a.answer, *(a.place or (None, None))) for a in answers],
        )
        connection.execute(
            "UPDATE attention SET spent = ?, shown_at = ? WHERE reader = ? AND screen = ?",
            (spent, now, reader.id, screen),
        )
    return Outcome.STORED


def undo(store: Store, reader: Reader, screen: str, now: float) -> bool:
    """Undo the answer to a screen if it is the reader's last one; it is kept in the history.

    Returns:
        Whether it was undone.
    """
    with store.transaction() as connection:
        last = last_answered(store, reader)
        if last is None or last != screen:
            return False
        connection.execute(
            "UPDATE submission SET undone_at = ? WHERE reader = ? AND screen = ? AND undone_at IS NULL",
            (now, reader.id, screen),
        )
    return True


def last_answered(store: Store, reader: Reader) -> str | None:
    """Return the screen before the current one, whose answer can be undone; None at the beginning."""
    query = """
        SELECT turn.screen FROM turn
        JOIN submission AS given ON given.reader = turn.reader AND given.screen = turn.screen
        WHERE turn.reader = ? AND given.undone_at IS NULL
        ORDER BY turn.place DESC LIMIT 1"""
    found = store.rows(query, (reader.id,))
    return str(found[0][0]) if found else None


def undone_answers(store: Store, reader: Reader, screen: str) -> dict[str, Answer]:
    """Return the last undone answers to a screen, by item, so that the page can show them again."""
    query = """
        SELECT answer.item, answer.answer, answer.x, answer.y FROM answer
        WHERE answer.reader = ?1 AND answer.submission = (
            SELECT id FROM submission WHERE reader = ?1 AND screen = ?2 ORDER BY undone_at DESC LIMIT 1)"""
    return {
        item: Answer(item, answer, None if x is None else (x, y))
        for item, answer, x, y in store.rows(query, (reader.id, screen))
    }


def _places_left(store: Store, reader: Reader, count: int) -> list[int]:
    """Return the first few positions without a valid answer, in order."""
    query = """
        SELECT turn.place FROM turn WHERE turn.reader = ? AND NOT EXISTS (
            SELECT 1 FROM submission AS given
            WHERE given.reader = turn.reader AND given.screen = turn.screen AND given.undone_at IS NULL)
        ORDER BY turn.place LIMIT ?"""
    return [place for (place,) in store.rows(query, (reader.id, count))]


def _turn_at(store: Store, reader: Reader, place: int) -> tuple[int, Screen] | None:
    found = screen_at(store, reader, place)
    return None if found is None else (place, found)


def screen_at(store: Store, reader: Reader, place: int) -> Screen | None:
    """Return the screen at a position of the reader's order, from 0; None outside of it."""
    query = """
        SELECT screen.id, screen.practice FROM turn JOIN screen ON screen.id = turn.screen
        WHERE turn.reader = ? AND turn.place = ?"""
    found = store.rows(query, (reader.id, place))
    if not found:
        return None
    screen, practice = found[0]
    asks = store.rows("SELECT id, question FROM item WHERE screen = ? ORDER BY place", (screen,))
    pictures = store.rows("SELECT id FROM picture WHERE screen = ? ORDER BY place", (screen,))
    return Screen(
        screen,
        tuple((item, Question(question)) for item, question in asks),
        tuple(picture for (picture,) in pictures),
        bool(practice),
    )


def _spent(connection: sqlite3.Connection, reader: Reader, screen: str, seconds: float | None, now: float) -> float:
    """Return the seconds of a reader on a screen; the time counted by the page is limited by the server's clock."""
    query = "SELECT shown_at, spent FROM attention WHERE reader = ? AND screen = ?"
    found = connection.execute(query, (reader.id, screen)).fetchone()
    if found is None:
        return 0.0
    shown_at, spent = (float(value) for value in found)
    passed = min(max(0.0, now - shown_at), LONGEST_SECONDS)
    return spent + (passed if seconds is None else min(max(0.0, seconds), passed))
