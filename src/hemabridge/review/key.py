"""The key of a review: the arm and cell of each opaque item. Only `review create` and unblinding may use it."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hemabridge.errors import RunError
from hemabridge.review.records import Item, Question
from hemabridge.storage.files import atomic_write

KEY: Final = "key.json"
"""Name of the key in the folder of a review."""

FORMAT_VERSION: Final = 1
LARGEST_FILE: Final = 50_000_000
"""Largest size in bytes; an item takes a few hundred."""

ARMS: Final = {Question.MORPHOLOGY: 2, Question.PREFERENCE: 2}
"""Number of pictures by question; 1 for others."""

OPAQUE: Final = r"^[A-Za-z0-9_-]{8,64}$"
"""Pattern of the ids of items, screens and pictures, which are parts of URLs and file names."""

_Id = Annotated[str, StringConstraints(pattern=OPAQUE)]
_Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_STRICT = ConfigDict(extra="forbid", frozen=True)


class _KeyItem(BaseModel):
    """One `Item` in the file."""

    model_config = _STRICT

    item: _Id
    question: Question
    shown: _Id
    arms: Annotated[tuple[Annotated[_Text, Field(min_length=1)], ...], Field(min_length=1, max_length=2)]
    cell: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    cell_type: _Text
    site: _Text
    repeat_of: _Id | None
    practice: Annotated[bool, Field(strict=True)]


class _KeyFile(BaseModel):
    model_config = _STRICT

    format: Literal[1]
    items: tuple[_KeyItem, ...]


def write_key(path: Path, items: Sequence[Item]) -> None:
    """Write the key, readable by its owner only."""
    with atomic_write(path) as temporary:
        temporary.touch(mode=0o600)
        os.chmod(temporary, 0o600)
        text = json.dumps({"format": FORMAT_VERSION, "items": [asdict(item) for item in items]}, indent=1)
        temporary.write_text(text, encoding="utf-8")


def read_key(path: Path) -> list[Item]:
    """Read a key that `write_key` wrote.

    Raises:
        RunError: the file is missing, too large, not a key, or inconsistent.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise RunError(f"expected a key of at most {LARGEST_FILE:,} bytes, got {path.stat().st_size:,}: {path}")
        found = _KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(
            f"expected the key of a review at {path}: {error}; restore the file that create wrote"
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise RunError(
            f"expected the key of a review, got a file that is none: {path}: {place}: {problem['msg']}"
        ) from error
    items = [Item(**entry.model_dump()) for entry in found.items]
    _check(items, path)
    return items


def _check(items: Sequence[Item], path: Path) -> None:
    """Make sure that ids are unique, each repeat has its first showing, and arms fit their question."""
    by_id = {item.item: item for item in items}
    if len(by_id) != len(items):
        raise RunError(f"expected each item once in {path}, got one of them twice")
    for item in items:
        if len(item.arms) != ARMS.get(item.question, 1):
            raise RunError(f"expected {ARMS.get(item.question, 1)} arms of {item.item} in {path}, got {len(item.arms)}")
        first = by_id.get(item.repeat_of) if item.repeat_of is not None else None
        if item.repeat_of is not None and (first is None or first.repeat_of is not None or not _is_alike(first, item)):
            raise RunError(
                f"expected {item.item} in {path} to repeat an item of the same question, cell and arms, "
                f"got {item.repeat_of!r}"
            )


def _is_alike(first: Item, again: Item) -> bool:
    """Return whether one item repeats the other; the sides of a preference may be exchanged."""
    return (first.question, first.cell, sorted(first.arms)) == (again.question, again.cell, sorted(again.arms))
