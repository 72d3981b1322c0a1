"""The store of a review: one SQLite file with readers, screens and verdicts. It holds opaque ids, and no arm."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from hemabridge.errors import RunError
from hemabridge.review.migrations import migrate
from hemabridge.review.records import Question, Verdict
from hemabridge.storage.file_kind import FileKind

_SETTING: Final = FileKind("a setting of a review", RunError, "restore the folder of the review")

STORE = "review.sqlite"
"""Name of the store's file in the folder of a review."""

WAIT_SECONDS = 10.0
"""How long one process waits for another that writes."""


@dataclass(frozen=True)
class Screen:
    """One page of questions for a reader.

    Args:
        id: opaque identifier.
        asks: item id and question of each question on it, in their order.
        pictures: opaque identifiers of its pictures from left to right.
        practice: whether it is of the practice round.
    """

    id: str
    asks: tuple[tuple[str, Question], ...]
    pictures: tuple[str, ...]
    practice: bool = False


@dataclass(frozen=True)
class NewReader:
    """A reader of a new review.

    Args:
        name: shown only when the review is unblinded.
        token: the unguessable part of the reader's URL; only its hash is kept.
        screens: ids of all screens in this reader's order.
        cell_types: answers to `Question.CELL_TYPE` in this reader's order of buttons.
        language: of the pages, until the reader changes it.
    """

    name: str
    token: str
    screens: tuple[str, ...]
    cell_types: tuple[str, ...] = ()
    language: str = "en"


class Store:
    """An open store. Threads may share it; each method is one transaction.

    Raises:
        RunError: the file is no such store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._reading_lock = threading.Lock(), threading.Lock()
        self._writer: int | None = None
        try:
            self._connection = _connected(path)
            try:
                migrate(self._connection)
                # Readers of a write-ahead log do not wait for a writer who waits for the disk.
                self._reading = _connected(path)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise self._damaged(error) from error
            raise RunError(f"expected the store of a review at {path}, could not open it: {error}") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store of a review, and bring it to the newest schema.

        Args:
            path: the file `review.sqlite`.

        Raises:
            RunError: there is none, or it was made by a newer version.
        """
        if not path.is_file():
            raise RunError(
                f"expected the store of a review at {path}, got no file; make it: `hemabridge review create PLAN`"
            )
        return cls(path)

    @classmethod
    def create(
        cls, path: Path, settings: dict[str, Any], screens: Sequence[Screen], readers: Sequence[NewReader]
    ) -> Self:
        """Make the store of a new review.

        Args:
            path: where there is no file yet.
            settings: values that the pages need besides screens; JSON.
            screens: all screens.
            readers: all readers; each one's `screens` are ids of all screens.

        Raises:
            RunError: there is a file already.
        """
        if path.exists():
            raise RunError(f"expected no file at {path} yet; choose another folder")
        store = cls(path)
        with store.transaction() as connection:
            connection.executemany(
                "INSERT INTO setting VALUES (?, ?)", [(name, json.dumps(value)) for name, value in settings.items()]
            )
            _insert_screens(connection, screens)
            for number, reader in enumerate(readers, start=1):
                _insert_reader(connection, number, reader)
        return store

    def close(self) -> None:
        """Close the file; the write-ahead log is merged into it."""
        with self._lock, self._reading_lock:
            self._reading.close()
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Open a transaction, which is committed as a whole or not at all, and yield its connection.

        A durable transaction is on the disk when it ends, even if the power fails then. Others survive a killed
        process, but not a power failure, and do not wait for the disk.

        Raises:
            RunError: the file is damaged.
        """
        with self._lock:
            try:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._connection.execute("BEGIN IMMEDIATE")
                self._writer = threading.get_ident()
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:  # a full disk has rolled it back by itself
                    self._connection.execute("ROLLBACK")
                if _is_damage(error):
                    raise self._damaged(error) from error
                raise
            finally:
                self._writer = None

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a reading query; within a transaction of this thread, with its uncommitted changes.

        Raises:
            RunError: the file is damaged.
        """
        try:
            if self._writer == threading.get_ident():
                return self._connection.execute(query, values).fetchall()
            with self._reading_lock:
                return self._reading.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise self._damaged(error) from error
            raise

    def _damaged(self, error: BaseException) -> RunError:
        return RunError(
            f"expected the store of a review at {self.path}, got a damaged one: {error}; restore the folder of "
            "the review from a copy. Keep the damaged file: the program sqlite3 (.recover) may recover answers from it"
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings that were given to `create`."""
        found = self.rows("SELECT name, value FROM setting")
        return {name: _SETTING.parse_json(value, self.path) for name, value in found}

    def readers(self) -> list[str]:
        """Return the names of all readers, whether they have begun or not."""
        return [name for (name,) in self.rows("SELECT name FROM reader ORDER BY id")]

    def open_sessions(self) -> list[str]:
        """Return the names of the readers who have begun and have screens left."""
        query = """
            SELECT name FROM reader WHERE begun_at IS NOT NULL AND EXISTS (
                SELECT 1 FROM turn WHERE turn.reader = reader.id AND NOT EXISTS (
                    SELECT 1 FROM submission AS given
                    WHERE given.reader = turn.reader AND given.screen = turn.screen AND given.undone_at IS NULL))
            ORDER BY id"""
        return [name for (name,) in self.rows(query)]

    def verdicts(self) -> list[Verdict]:
        """Return the valid answers: the last one of each reader to each item, also of the practice round.

        They are ordered by reader, then by the reader's screens. An answer that was undone and not given again is left
        out.
        """
        query = """
            SELECT reader.name, answer.item, answer.answer, given.seconds, turn.place, answer.x, answer.y
            FROM submission AS given
            JOIN reader ON reader.id = given.reader
            JOIN turn ON turn.reader = given.reader AND turn.screen = given.screen
            JOIN answer ON answer.reader = given.reader AND answer.submission = given.id
            JOIN item ON item.id = answer.item
            WHERE given.undone_at IS NULL
            ORDER BY given.reader, turn.place, item.place"""
        return [
            Verdict(reader, item, answer, seconds, order, None if x is None else (x, y))
            for reader, item, answer, seconds, order, x, y in self.rows(query)
        ]


def _is_damage(error: BaseException) -> bool:
    """Return whether an error of SQLite means a damaged store; a full disk or a lock does not."""
    if type(error) is sqlite3.DatabaseError:
        return True
    # SQLITE_ERROR: a table or a column is not there. Text that is no UTF-8 has no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return isinstance(error, sqlite3.OperationalError) and code == sqlite3.SQLITE_ERROR


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def hashed(token: str) -> bytes:
    """Return the hash that is kept of a token. A token is random and long, so a plain SHA-256 is safe."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _insert_screens(connection: sqlite3.Connection, screens: Sequence[Screen]) -> None:
    # By random ids: rows in the order of drawing would tell which screens show one arm.
    for screen in sorted(screens, key=lambda screen: screen.id):
        connection.execute("INSERT INTO screen VALUES (?, ?)", (screen.id, int(screen.practice)))
        connection.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?)",
            [(item, screen.id, place, question.value) for place, (item, question) in enumerate(screen.asks)],
        )
        connection.executemany(
            "INSERT INTO picture VALUES (?, ?, ?)",
            [(picture, screen.id, place) for place, picture in enumerate(screen.pictures)],
        )


def _insert_reader(connection: sqlite3.Connection, number: int, reader: NewReader) -> None:
    connection.execute(
        "INSERT INTO reader VALUES (?, ?, ?, ?, ?, NULL)",
        (number, reader.name, hashed(reader.token), reader.language, json.dumps(reader.cell_types)),
    )
    connection.executemany(
        "INSERT INTO turn VALUES (?, ?, ?)",
        [(number, place, screen) for place, screen in enumerate(reader.screens)],
    )
