import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hemabridge.errors import RunError
from hemabridge.review.migrations import APPLICATION_ID, MIGRATIONS, migrate
from hemabridge.review.records import Verdict
from hemabridge.review.session import Reader, show, undo
from hemabridge.review.store import Store, hashed

AnswerNext = Callable[..., str]
ReaderNamed = Callable[[str], Reader]


def test_a_new_store_knows_its_readers_and_holds_nothing_of_theirs(store: Store) -> None:
    assert store.readers() == ["Ana", "Ben", "Cem"]
    assert store.open_sessions() == []
    assert store.verdicts() == []
    assert store.settings() == {"title": "Blood cells"}


def test_verdicts_come_by_reader_and_in_the_order_of_that_readers_screens(
    store: Store, answer_next: AnswerNext
) -> None:
    for _ in range(3):
        answer_next("Ben", "other", seconds=2.0, now=10.0)
    answer_next("Ana", "3")
    assert store.verdicts() == [
        Verdict("Ana", "item-0", "3", 0.01, 0),
        Verdict("Ana", "fault-0", "3", 0.01, 0),
        Verdict("Ben", "item-0", "other", 0.01, 0),
        Verdict("Ben", "fault-0", "other", 0.01, 0),
        Verdict("Ben", "item-7", "other", 0.01, 1),
        Verdict("Ben", "item-6", "other", 0.01, 2),
        Verdict("Ben", "fault-6", "other", 0.01, 2),
    ]


def test_a_session_is_open_from_the_first_screen_to_the_last_answer(
    store: Store, answer_next: AnswerNext, reader_named: ReaderNamed
) -> None:
    from hemabridge.review.session import current_screen

    for name in ("Ana", "Cem"):
        current = current_screen(store, reader_named(name))
        assert current is not None
        show(store, reader_named(name), current[1], 1.0)
    assert store.open_sessions() == ["Ana", "Cem"]
    for _ in range(8):
        last = answer_next("Ana")
    assert store.open_sessions() == ["Cem"]
    assert undo(store, reader_named("Ana"), last, 5.0)
    assert store.open_sessions() == ["Ana", "Cem"]


def test_what_was_undone_is_left_out_until_it_is_given_again_and_stays_in_the_history(
    store: Store, answer_next: AnswerNext, reader_named: ReaderNamed
) -> None:
    answer_next("Ana", "1")
    screen = answer_next("Ana", "target")
    assert undo(store, reader_named("Ana"), screen, 5.0)
    assert [verdict.item for verdict in store.verdicts()] == ["item-0", "fault-0"]
    answer_next("Ana", "other")
    assert [verdict.answer for verdict in store.verdicts()] == ["1", "1", "other"]
    assert store.rows("SELECT answer FROM answer WHERE item = 'item-1' ORDER BY rowid") == [("target",), ("other",)]


def test_no_token_is_kept(store: Store, tmp_path: Path) -> None:
    kept = store.rows("SELECT token_hash FROM reader ORDER BY id")
    assert kept[0] == (hashed("Ana-token-of-this-reader-000000000"),)
    store.close()
    assert b"token-of-this-reader" not in (tmp_path / "review.sqlite").read_bytes()


def test_a_store_is_not_made_twice_and_not_opened_where_none_is(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected no file at"):
        Store.create(store.path, {}, (), ())
    with pytest.raises(RunError, match="expected the store of a review at"):
        Store.open(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 4096, b"SQLite format 3\x00" + b"\xff" * 5000, b"PK"])
def test_a_file_that_is_no_store_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    path.write_bytes(content)
    if content == b"":  # for SQLite an empty file is an empty database: a store without readers
        with Store.open(path) as opened:
            assert opened.readers() == []
        return
    with pytest.raises(RunError, match="expected the store of a review"):
        Store.open(path)


def test_a_store_of_which_a_part_is_damaged_is_told_in_words(store: Store, answer_next: AnswerNext) -> None:
    for _ in range(3):
        answer_next("Ben", "other", seconds=2.0, now=10.0)
    store.close()
    content = bytearray(store.path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)  # the schema stays whole, what the tables hold does not
    store.path.write_bytes(content)
    with pytest.raises(RunError, match=r"the store of a review at .*got a damaged one: .*restore the folder"):
        Store.open(store.path).verdicts()


def test_a_store_without_one_of_its_tables_is_told_in_words(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("DROP TABLE answer")
    with pytest.raises(RunError, match="got a damaged one: no such table: answer"):
        store.verdicts()
    with pytest.raises(RunError, match="got a damaged one: no such table: answer"), store.transaction() as connection:
        connection.execute("DELETE FROM answer")


def test_the_sqlite_file_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(RunError, match="got another SQLite file"):
        Store.open(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("mine",)]
    other.close()


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("INSERT INTO migration VALUES ('voices', 0)")
    store.close()
    with pytest.raises(RunError, match=r"got one with 'voices'; update hemabridge"):
        Store.open(store.path)


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@pytest.mark.parametrize("steps", range(1, len(MIGRATIONS) + 1))
def test_each_older_schema_is_brought_up_to_date_and_keeps_what_was_said(steps: int, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    old = connect(path)
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("CREATE TABLE migration (name TEXT PRIMARY KEY, applied_at REAL NOT NULL) STRICT")
    for name, statements in MIGRATIONS[:steps]:
        for statement in statements:
            old.execute(statement)
        old.execute("INSERT INTO migration VALUES (?, 0)", (name,))
    old.execute("INSERT INTO reader VALUES (1, 'Ana', x'00', 'en', '[]', 5)")
    old.execute("INSERT INTO screen VALUES ('screen-1', 0)")
    old.execute("INSERT INTO item VALUES ('item-1', 'screen-1', 0, 'stain')")
    old.execute("INSERT INTO turn VALUES (1, 0, 'screen-1')")
    old.execute("INSERT INTO submission VALUES (1, 's', 'screen-1', 6, 1.5, NULL)")
    old.execute("INSERT INTO answer VALUES (1, 's', 'item-1', '4', NULL, NULL)")
    old.close()

    with Store.open(path) as store:
        assert store.verdicts() == [Verdict("Ana", "item-1", "4", 1.5, 0)]
        assert store.rows("SELECT name FROM migration ORDER BY rowid") == [(name,) for name, _ in MIGRATIONS]
    again = connect(path)
    assert migrate(again) == []
    again.close()


def test_a_step_that_fails_leaves_the_schema_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(tmp_path / "review.sqlite")
    assert migrate(connection) == [name for name, _ in MIGRATIONS]
    broken = (*MIGRATIONS, ("broken", ("CREATE TABLE added (x) STRICT", "nonsense")))
    monkeypatch.setattr("hemabridge.review.migrations.MIGRATIONS", broken)
    before = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    with pytest.raises(sqlite3.DatabaseError):
        migrate(connection)
    assert connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall() == before
    assert not connection.in_transaction
    connection.close()


def test_threads_share_a_store_and_lose_nothing(store: Store, reader_named: ReaderNamed) -> None:
    def work(number: int) -> None:
        for turn in range(25):
            with store.transaction() as connection:
                connection.execute("INSERT INTO setting VALUES (?, '1')", (f"{number}-{turn}",))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.rows("SELECT count(*) FROM setting") == [(1 + 8 * 25,)]


def test_a_full_disk_is_an_error_that_changes_nothing_and_ends_when_there_is_room(store: Store) -> None:
    with store.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    rows = [("first", "1"), ("large", "x" * 100_000)]
    with pytest.raises(sqlite3.OperationalError, match="full"), store.transaction() as connection:
        connection.executemany("INSERT INTO setting VALUES (?, ?)", rows)
    assert set(store.settings()) == {"title"}
    store._connection.execute(f"PRAGMA max_page_count = {pages + 100}")
    with store.transaction() as connection:
        connection.execute("INSERT INTO setting VALUES ('large', ?)", ('"' + "x" * 100_000 + '"',))
    assert set(store.settings()) == {"title", "large"}


def test_a_transaction_reads_what_it_wrote_and_nobody_else_does_before_its_end(store: Store) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(len(store.settings()))

    with store.transaction() as connection:
        connection.execute("INSERT INTO setting VALUES ('more', '1')")
        other = threading.Thread(target=look)
        other.start()
        other.join(30)
        look()
    look()
    assert seen == [1, 2, 2]


KILLED = """
import os, signal, sys
from pathlib import Path
from hemabridge.review.store import Store
store = Store.open(Path(sys.argv[1]))
with store.transaction() as connection:
    connection.execute("INSERT INTO setting VALUES ('whole', '1')")
print("whole", flush=True)
with store.transaction() as connection:
    connection.execute("INSERT INTO setting VALUES ('half', '1')")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_in_a_transaction_loses_that_one_alone(store: Store) -> None:
    store.close()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.path], capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "whole\n", "")
    with Store.open(store.path) as again:
        assert set(again.settings()) == {"title", "whole"}
