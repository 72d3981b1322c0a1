import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hemabridge.errors import RunError
from hemabridge.review.key import LARGEST_FILE, read_key, write_key
from hemabridge.review.records import Item, Question

CELL = "0f" * 32
FIRST = Item("item-first", Question.STAIN, "screen-one", ("epoch-0010",), CELL, "neutrophil", "clinic")
AGAIN = replace(FIRST, item="item-again", shown="screen-two", repeat_of="item-first")
PAIR = Item("item-pair", Question.PREFERENCE, "screen-three", ("reinhard", "epoch-0010"), CELL, "", "clinic")
PRACTICE = replace(FIRST, item="item-practice", shown="screen-four", practice=True)
ITEMS = [FIRST, AGAIN, PAIR, replace(PAIR, item="pair-again", arms=PAIR.arms[::-1], repeat_of="item-pair"), PRACTICE]


def test_a_key_comes_back_as_it_was_written_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_key(path, ITEMS)
    assert read_key(path) == ITEMS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.json"]


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    data = {
        "format": 1,
        "items": [
            {
                "item": "item-first",
                "question": "stain",
                "shown": "screen-one",
                "arms": ["a"],
                "cell": CELL,
                "cell_type": "",
                "site": "s",
                "repeat_of": None,
                "practice": False,
            }
        ],
    }
    change(data)
    return json.dumps(data)


def first(**changes: Any) -> str:
    return edited(lambda data: data["items"][0].update(changes))


HOSTILE = {
    "no JSON": "}{",
    "a list": "[]",
    "deep": "[" * 100_000,
    "another format": edited(lambda data: data.update(format=2)),
    "an unknown key": first(model="x"),
    "an id that is a path": first(item="../../x/y"),
    "a question that is none": first(question="color"),
    "no arm": first(arms=[]),
    "an empty arm": first(arms=[""]),
    "two arms where one is shown": first(arms=["a", "b"]),
    "a cell that is no hash": first(cell="x"),
    "a control character": first(site="a\nb"),
    "practice as text": first(practice="yes"),
    "a repeat of nothing": first(repeat_of="item-other"),
    "a repeat of itself": first(repeat_of="item-first"),
    "an item twice": edited(lambda data: data["items"].append(dict(data["items"][0]))),
    "a repeat of another cell": edited(
        lambda data: data["items"].append(
            {**data["items"][0], "item": "item-again", "repeat_of": "item-first", "cell": "00" * 32}
        )
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_key_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(HOSTILE[name], encoding="utf-8")
    with pytest.raises(RunError, match=r"key\.json"):
        read_key(path)


def test_the_untouched_file_of_these_tests_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(edited(lambda data: data), encoding="utf-8")
    assert [item.item for item in read_key(path)] == ["item-first"]


def test_a_missing_key_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected the key of a review at"):
        read_key(tmp_path / "key.json")
    with (tmp_path / "key.json").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(RunError, match="at most 50,000,000 bytes"):
        read_key(tmp_path / "key.json")
