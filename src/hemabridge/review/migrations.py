"""The schema of a review's store as named migrations; each is recorded in its own transaction."""

import sqlite3
import time

from hemabridge.errors import RunError

APPLICATION_ID = 0x48425256
"""SQLite application id of a review's store ("HBRV")."""

MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "readers, screens and what was said",
        (
            "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
            """CREATE TABLE reader (
                id INTEGER PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                token_hash BLOB NOT NULL UNIQUE,
                language TEXT NOT NULL,
                cell_types TEXT NOT NULL,
                begun_at REAL
            ) STRICT""",
            "CREATE TABLE screen (id TEXT PRIMARY KEY, practice INTEGER NOT NULL) STRICT",
            """CREATE TABLE item (
                id TEXT PRIMARY KEY,
                screen TEXT NOT NULL REFERENCES screen,
                place INTEGER NOT NULL,
                question TEXT NOT NULL,
                UNIQUE (screen, place)
            ) STRICT""",
            """CREATE TABLE picture (
                id TEXT PRIMARY KEY,
                screen TEXT NOT NULL REFERENCES screen,
                place INTEGER NOT NULL,
                UNIQUE (screen, place)
            ) STRICT""",
            """CREATE TABLE turn (
                reader INTEGER NOT NULL REFERENCES reader,
                place INTEGER NOT NULL,
                screen TEXT NOT NULL REFERENCES screen,
                PRIMARY KEY (reader, place),
                UNIQUE (reader, screen)
            ) STRICT""",
            """CREATE TABLE submission (
                reader INTEGER NOT NULL REFERENCES reader,
                id TEXT NOT NULL,
                screen TEXT NOT NULL REFERENCES screen,
                at REAL NOT NULL,
                seconds REAL NOT NULL,
                undone_at REAL,
                PRIMARY KEY (reader, id)
            ) STRICT""",
            # Undone submissions are kept; each reader has at most one valid submission per screen.
            "CREATE UNIQUE INDEX entry ON submission (reader, screen) WHERE undone_at IS NULL",
            """CREATE TABLE answer (
                reader INTEGER NOT NULL,
                submission TEXT NOT NULL,
                item TEXT NOT NULL REFERENCES item,
                answer TEXT NOT NULL,
                x REAL,
                y REAL,
                PRIMARY KEY (reader, submission, item),
                FOREIGN KEY (reader, submission) REFERENCES submission (reader, id)
            ) STRICT""",
        ),
    ),
    (
        "time that a reader looked at a screen",
        (
            """CREATE TABLE attention (
                reader INTEGER NOT NULL REFERENCES reader,
                screen TEXT NOT NULL REFERENCES screen,
                shown_at REAL NOT NULL,
                spent REAL NOT NULL,
                PRIMARY KEY (reader, screen)
            ) STRICT""",
        ),
    ),
)


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Migrate a store to the newest schema; return the names of the migrations that were applied.

    Args:
        connection: in autocommit mode (`isolation_level=None`).

    Raises:
        RunError: the file is not the store of a review, or was made by a newer version.
    """
    done: list[str] = []
    for name, statements in MIGRATIONS:
        connection.execute("BEGIN IMMEDIATE")
        try:
            known = _recorded(connection)
            if name not in known:
                for statement in statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO migration VALUES (?, ?)", (name, time.time()))
                done.append(name)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return done


def _recorded(connection: sqlite3.Connection) -> set[str]:
    """Return the migrations that were applied to a store; mark an empty file as a store."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables and mark == 0:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE migration (name TEXT PRIMARY KEY, applied_at REAL NOT NULL) STRICT")
        return set()
    if mark != APPLICATION_ID or "migration" not in tables:
        raise RunError("expected the store of a review, got another SQLite file; name a folder of `review create`")
    recorded = {str(row[0]) for row in connection.execute("SELECT name FROM migration")}
    strange = recorded - {name for name, _ in MIGRATIONS}
    if strange:
        raise RunError(
            f"expected a store of this version or an older one, got one with {', '.join(map(repr, sorted(strange)))}; "
            "update hemabridge"
        )
    return recorded
