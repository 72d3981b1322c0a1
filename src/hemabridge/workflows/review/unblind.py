"""`hemabridge review unblind`: writes results, tables, report, and scores for `select` from the folder of a review."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from re import fullmatch
from typing import Final

from hemabridge._version import __version__
from hemabridge.errors import ImageError, InputError, RunError
from hemabridge.evaluation.reading import FILE, Reading
from hemabridge.imaging.files import read_image
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.report.reading_story import answer, gallery, headline
from hemabridge.report.report import write_review_report
from hemabridge.review.judgments import Truth, check_together
from hemabridge.review.key import KEY, OPAQUE, read_key
from hemabridge.review.records import Item, Question, Verdict
from hemabridge.review.store import STORE, Store
from hemabridge.review.unblind import Circumstances, unblind
from hemabridge.review.unblinded_tables import TABLES, tables_of
from hemabridge.storage.files import atomic_write, sha256_of

REPORT: Final = "review-report.html"
TABLES_FOLDER: Final = "tables"
PICTURES: Final = "pictures"
LARGEST_STORE: Final = 1_000_000_000
"""Largest size of a store in bytes; a verdict takes some hundred bytes."""


@dataclass(frozen=True)
class Unblinded:
    """The results of a review, and the files that hold them.

    Attributes:
        reading: all results.
        headline: the result in one line; `answer` is the result in three sentences.
        report: the HTML file.
        tables: the CSV files, by name.
    """

    reading: Reading
    headline: str
    answer: Sequence[str]
    report: Path
    tables: Mapping[str, Path]


@dataclass(frozen=True)
class _Kept:
    """The content of a store at one moment."""

    items: list[tuple[str, str, str]]
    verdicts: list[Verdict]
    readers: tuple[str, ...]
    open_sessions: tuple[str, ...]
    pictures: dict[str, list[str]]


def review_unblind(
    folder: Path,
    *,
    key: Path | None = None,
    despite: str | None = None,
    target: str | None = None,
    photographs: Sequence[str] = (),
) -> Unblinded:
    """Join the readers' answers with the key, and write `unblinded.json`, `review-report.html` and `tables/*.csv`.

    The key is opened only if no session is open, or if `despite` gives a reason for it. Each file is written whole
    or not at all, `unblinded.json` last.

    Args:
        folder: the folder of a review (`hemabridge review create`).
        key: its file, if it was kept elsewhere.
        despite: reason for unblinding although a reader has screens left.
        target: the arm with photographs of the target's laboratory; `target` if not given.
        photographs: further arms of photographs; `original` always is one.

    Raises:
        RunError: a session is open; the folder is no review, or its files do not belong together.
        InputError: an arm is unknown, or it must be stated which arms are photographs or the target.
    """
    kept = _read_store(folder / STORE)
    when = Circumstances(kept.readers, kept.open_sessions, despite, _earlier(folder / FILE))
    when.refuse_while_open()
    key = key or folder / KEY
    items = read_key(key)
    check_together(items, kept.items)
    truth = _truth(items, target, photographs)
    reading = unblind(
        folder.absolute().name,
        items,
        kept.verdicts,
        when,
        truth=truth,
        facts=_facts(key),
    )
    pictures = _pictures(folder / PICTURES, reading, kept.pictures)
    return _write(folder, reading, pictures, tables_of(reading, items, kept.verdicts))


def _facts(key: Path) -> dict[str, str]:
    return {
        "unblinded at (UTC)": datetime.now(UTC).isoformat(timespec="seconds"),
        "hemabridge": __version__,
        "SHA-256 of the key": sha256_of(key),
    }


def _read_store(path: Path) -> _Kept:
    if path.is_file() and path.stat().st_size > LARGEST_STORE:
        raise RunError(f"expected a store of at most {LARGEST_STORE:,} bytes, got {path.stat().st_size:,}: {path}")
    try:
        with Store.open(path) as store, store.transaction():
            pictures: dict[str, list[str]] = {}
            for screen, picture in store.rows("SELECT screen, id FROM picture ORDER BY screen, place"):
                pictures.setdefault(screen, []).append(picture)
            return _Kept(
                items=[(item, screen, question) for item, screen, question in store.rows(_ITEMS)],
                verdicts=store.verdicts(),
                readers=tuple(store.readers()),
                open_sessions=tuple(store.open_sessions()),
                pictures=pictures,
            )
    except sqlite3.Error as error:
        raise RunError(f"expected the store of a review at {path}, could not read it: {error}") from error


_ITEMS: Final = "SELECT id, screen, question FROM item"


def _truth(items: Sequence[Item], target: str | None, photographs: Sequence[str]) -> Truth:
    """Return which arms are photographs and which is the target; an error if a question needs it and it is unknown."""
    arms = sorted({arm for item in items for arm in item.arms})
    unknown = [arm for arm in (target, *photographs) if arm is not None and arm not in arms]
    if unknown:
        raise InputError(f"expected arms of this review ({', '.join(arms)}), got {', '.join(unknown)}")
    truth = Truth() if target is None else Truth(target=target)
    truth = Truth(truth.target, (*truth.photographs, *photographs))
    asked = {item.question for item in items}
    if Question.LABORATORY in asked and truth.target not in arms:
        raise InputError(
            f"expected an arm {truth.target!r} with photographs of the target's laboratory, got {', '.join(arms)}; "
            "name it with --target"
        )
    if Question.ARTIFICIAL in asked and not {truth.target, *truth.photographs} & set(arms):
        raise InputError(
            f"expected an arm of photographs, got {', '.join(arms)}; name those of photographs with --photograph"
        )
    return truth


def _earlier(path: Path) -> tuple[str, ...]:
    """Return a sentence on each earlier unblinding; the record keeps them permanently."""
    if not path.is_file():
        return ()
    try:
        found = Reading.read(path)
    except InputError as error:
        raise RunError(f"{error}; it records earlier unblindings: move it elsewhere, and keep it") from error
    if not found.open_sessions:
        return found.earlier
    left = ", ".join(found.open_sessions)
    return (*found.earlier, f"{left} had screens left ({found.facts.get('unblinded at (UTC)')}): {found.despite}.")


def _pictures(folder: Path, reading: Reading, names: Mapping[str, Sequence[str]]) -> dict[str, tuple[UInt8Image, ...]]:
    """Read the pictures of the disputes that the report shows; missing ones are left out."""
    found = {}
    for _, disputes, _ in gallery(reading):
        for dispute in disputes:
            own = names.get(dispute.shown, ())
            strange = [name for name in own if not fullmatch(OPAQUE, name)]
            if strange:
                raise RunError(f"expected opaque names of pictures, got {strange[0][:80]!r}; the store was changed")
            with suppress(ImageError):
                pictures = tuple(read_image(folder / f"{name}.png") for name in own)
                if len(pictures) == len(dispute.arms):
                    found[dispute.shown] = pictures
    return found


def _write(
    folder: Path, reading: Reading, pictures: Mapping[str, Sequence[UInt8Image]], tables: Mapping[str, str]
) -> Unblinded:
    written = {}
    for name in TABLES:
        path = folder / TABLES_FOLDER / name
        if name not in tables:
            path.unlink(missing_ok=True)  # of an earlier call
            continue
        with atomic_write(path) as temporary:
            temporary.write_text(tables[name], encoding="utf-8", errors="replace", newline="")
        written[name] = path
    write_review_report(reading, pictures, folder / REPORT)
    with atomic_write(folder / FILE) as temporary:
        temporary.write_text(reading.to_json(), encoding="utf-8")
    return Unblinded(reading, headline(reading), answer(reading), folder / REPORT, written)
