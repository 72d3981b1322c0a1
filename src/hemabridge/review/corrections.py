"""The answers of experts for the cells of a count: one SQLite table, to which rows are only added."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from hemabridge.errors import RunError

STORE: Final = "corrections.sqlite"

APPLICATION_ID: Final = 0x48424346
"""SQLite application id of this store ("HBCF")."""

SCHEMA: Final = (
    """CREATE TABLE correction (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        who TEXT NOT NULL,
        cell TEXT NOT NULL,
        class TEXT,
        before TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX of_cell ON correction (cell, id)",
    *(
        f"CREATE TRIGGER no_{what} BEFORE {what} ON correction "
        "BEGIN SELECT RAISE(ABORT, 'corrections are only added'); END"
        for what in ("UPDATE", "DELETE")
    ),
    "PRAGMA user_version = 1",
)


@dataclass(frozen=True)
class Correction:
    """One answer of an expert.

    Attributes:
        at: seconds since 1970.
        who: name of the expert.
        cell: path of the cell.
        class_name: the class; None if the expert took an earlier answer back.
        before: the class that the cell had until then.
    """

    at: float
    who: str
    cell: str
    class_name: str | None
    before: str


class Corrections:
    """The open store. Each answer is on the disk before `add` returns; the newest one of a cell counts."""

    def __init__(self, path: Path) -> None:
        """Open the store, or create it.

        Raises:
            RunError: the file is no such store, or was made by a newer version.
        """
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except (sqlite3.DatabaseError, RunError) as error:
            self._connection.close()
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"expected corrections at {path}, could not read them: {error}; move the file away"
            ) from error

    def _prepare(self) -> None:
        run = self._connection.execute
        ((version,),), ((owner,),) = (run(f"PRAGMA {name}").fetchall() for name in ("user_version", "application_id"))
        if (version, owner) not in ((0, 0), (1, APPLICATION_ID)):
            raise RunError(f"expected corrections of version 1 at {self.path}, got {version} of another program")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        if version == 0:
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            with self._transaction():
                for statement in SCHEMA:
                    run(statement)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def add(self, who: str, cell: str, class_name: str | None, before: str) -> None:
        """Add an answer; None takes the earlier one back."""
        with self._lock, self._transaction():
            self._connection.execute(
                "INSERT INTO correction (at, who, cell, class, before) VALUES (?, ?, ?, ?, ?)",
                (time.time(), who, cell, class_name, before),
            )

    def answers(self) -> dict[str, str]:
        """Return the class of each cell that has one, by path of the cell."""
        query = "SELECT cell, class FROM correction WHERE id IN (SELECT max(id) FROM correction GROUP BY cell)"
        with self._lock:
            return {cell: name for cell, name in self._connection.execute(query) if name is not None}

    def last(self, who: str) -> str | None:
        """Return the path of the cell to which an expert gave a class last that still counts; None if there is none."""
        query = (
            "SELECT cell FROM correction WHERE class IS NOT NULL AND who = ? AND id IN "
            "(SELECT max(id) FROM correction GROUP BY cell) ORDER BY id DESC LIMIT 1"
        )
        with self._lock:
            found = self._connection.execute(query, (who,)).fetchone()
        return None if found is None else str(found[0])

    def history(self) -> list[Correction]:
        """Return every answer, oldest first."""
        query = "SELECT at, who, cell, class, before FROM correction ORDER BY id"
        with self._lock:
            return [Correction(*row) for row in self._connection.execute(query)]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
