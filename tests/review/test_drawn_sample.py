import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hemabridge.errors import InputError
from hemabridge.review.arms import Arm, ArmCell, Picture
from hemabridge.review.drawn_sample import DrawnScreen, TaskPlan, draw
from hemabridge.review.records import Item, Question

TYPES = ("blast", "lymphocyte", "monocyte")


def arm(name: str, kind: str, count: int, of: str | None = None) -> Arm:
    """Return cells of three types in turn; cells of the same kind and number are the same cell."""
    cells = {}
    for number in range(count):
        identity = sha256(f"{kind}{number}".encode()).hexdigest()
        cells[identity] = ArmCell(identity, TYPES[number % 3], kind, Picture(Path(f"{name}/{number}.png")))
    return Arm(name, cells, of)


ARMS = {
    "original": arm("original", "source", 24),
    "target": arm("target", "home", 24),
    "reinhard": arm("reinhard", "source", 24, "original"),
    "epoch-0010": arm("epoch-0010", "source", 24, "original"),
}


def task(*questions: str, cells: int = 6, **more: Any) -> TaskPlan:
    return TaskPlan.model_validate({"questions": questions, "cells": cells, **more})


def first_items(screens: Sequence[DrawnScreen]) -> list[Item]:
    return [shown.items[0] for shown in screens]


def test_arms_of_the_same_photographs_show_the_same_cells_in_equal_numbers_of_each_type() -> None:
    practice, block = draw([task("laboratory")], ARMS, seed=1)
    assert practice == []
    by_arm = {name: [i for i in first_items(block) if i.arms == (name,)] for name in ARMS}
    assert {name: len(items) for name, items in by_arm.items()} == dict.fromkeys(ARMS, 6)
    cells = {name: {item.cell for item in items} for name, items in by_arm.items()}
    assert cells["original"] == cells["reinhard"] == cells["epoch-0010"]
    assert cells["original"].isdisjoint(cells["target"])
    for items in by_arm.values():
        assert Counter(item.cell_type for item in items) == dict.fromkeys(TYPES, 2)
    assert {item.site for item in by_arm["target"]} == {"home"}


def test_screens_items_and_pictures_belong_together_and_their_ids_tell_nothing() -> None:
    _, block = draw([task("stain", "stain_faults", "cell_type", repeats=3)], ARMS, seed=1)
    ids = []
    for shown in block:
        assert shown.screen.asks == tuple((item.item, item.question) for item in shown.items)
        assert {item.shown for item in shown.items} == {shown.screen.id}
        assert len(shown.screen.pictures) == len(shown.pictures) == 1
        assert shown.pictures[0] == ARMS[shown.items[0].arms[0]].cells[shown.items[0].cell].picture
        ids += [shown.screen.id, *shown.screen.pictures, *(item.item for item in shown.items)]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch(r"[0-9a-f]{24}", name)] == []


def test_repeats_are_of_all_arms_in_turn_and_name_their_first_showing_item_by_item() -> None:
    _, block = draw([task("stain", "stain_faults", repeats=8)], ARMS, seed=2)
    again = [shown for shown in block if shown.items[0].repeat_of is not None]
    by_item = {item.item: item for shown in block for item in shown.items}
    assert Counter(shown.items[0].arms for shown in again) == {(name,): 2 for name in ARMS}
    for shown in again:
        firsts = [by_item[str(item.repeat_of)] for item in shown.items]
        assert len({item.shown for item in firsts}) == 1
        assert [(i.question, i.arms, i.cell) for i in firsts] == [(i.question, i.arms, i.cell) for i in shown.items]
        assert all(item.repeat_of is None for item in firsts)


def test_morphology_shows_every_restaining_beside_the_original_of_the_same_cell() -> None:
    _, block = draw([task("morphology")], ARMS, seed=3)
    assert Counter(item.arms for item in first_items(block)) == {
        ("original", "reinhard"): 6,
        ("original", "epoch-0010"): 6,
    }
    for shown in block:
        left, right = shown.pictures
        assert (left.path.parent.name, right.path.parent.name) == shown.items[0].arms
        assert left.path.name == right.path.name


def test_an_original_beside_itself_can_be_asked_for_as_a_control() -> None:
    _, block = draw([task("morphology", arms=("original", "reinhard"), cells=3)], ARMS, seed=3)
    assert Counter(item.arms for item in first_items(block)) == {
        ("original", "original"): 3,
        ("original", "reinhard"): 3,
    }


def test_each_arm_of_a_preference_is_on_the_left_in_half_of_the_screens() -> None:
    _, block = draw([task("preference", cells=10, arms=("original", "reinhard", "epoch-0010"))], ARMS, seed=4)
    sides = Counter(item.arms for item in first_items(block))
    assert len(sides) == 6
    assert set(sides.values()) == {5}
    for shown in block:
        assert tuple(picture.path.parent.name for picture in shown.pictures) == shown.items[0].arms
        assert len({picture.path.name for picture in shown.pictures}) == 1


def test_the_practice_round_comes_first_of_every_task_and_of_cells_that_do_not_count() -> None:
    tasks = [task("laboratory", practice=3), task("morphology", practice=2)]
    practice, *blocks = draw(tasks, ARMS, seed=5)
    assert [shown.items[0].question for shown in practice] == [Question.LABORATORY] * 3 + [Question.MORPHOLOGY] * 2
    assert all(shown.screen.practice and shown.items[0].practice for shown in practice)
    assert len({shown.items[0].arms for shown in practice[:3]}) == 3
    counted = {item.cell for block in blocks for item in first_items(block)}
    assert counted.isdisjoint(item.cell for item in first_items(practice))


def test_tasks_share_no_cells_while_there_are_others() -> None:
    _, first, second = draw([task("stain"), task("cell_type")], ARMS, seed=6)
    assert {i.cell for i in first_items(first)}.isdisjoint(i.cell for i in first_items(second))
    _, first, second = draw([task("stain", cells=20), task("cell_type", cells=20)], ARMS, seed=6)
    assert len({i.cell for i in first_items(first)} & {i.cell for i in first_items(second)}) > 0


def sample(seed: int) -> list[tuple[Any, ...]]:
    tasks = [task("laboratory", repeats=4, practice=2), task("preference", arms=("original", "reinhard"), cells=4)]
    return [(i.question, i.arms, i.cell, i.practice) for block in draw(tasks, ARMS, seed) for i in first_items(block)]


def test_the_sample_follows_from_the_seed() -> None:
    again = sample(7)
    assert sample(7) == again
    assert sample(7) != sample(8)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (task("laboratory", cells=25), "at least 25 cells in each of the arms original"),
        (task("laboratory", arms=("macenko",)), "got macenko"),
        (task("preference", arms=("original", "target")), "arms of the same photographs"),
        (task("preference", arms=("reinhard",)), r"at least 2 arm\(s\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(spec: TaskPlan, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw([spec], ARMS, seed=0)


@pytest.mark.parametrize(
    "questions", [(), ("stain", "stain"), ("morphology", "stain"), ("cell_type", "preference"), ("color",)]
)
def test_questions_that_cannot_stand_on_one_screen_are_refused(questions: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        task(*questions)
