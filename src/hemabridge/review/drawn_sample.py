"""The sample of a review: drawn with a seed, balanced over cell types, with the same cells in all arms."""

import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, cycle, islice
from random import Random
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hemabridge.errors import InputError
from hemabridge.review.arms import ORIGINAL, Arm, ArmCell, Picture
from hemabridge.review.records import Item, Question
from hemabridge.review.store import Screen

PAIRS: Final = (Question.MORPHOLOGY, Question.PREFERENCE)
"""Questions with two pictures, which are the only question on their screen."""

T = TypeVar("T")


class TaskPlan(BaseModel):
    """One part of a review: its questions, and numbers of cells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: tuple[Question, ...] = Field(
        min_length=1, description="questions that are asked together, about one picture"
    )
    cells: int = Field(ge=1, le=500, description="cells of each arm, or of each pair of arms for a preference")
    arms: tuple[str, ...] = Field((), description="arms of the task; all that fit the question if not given")
    repeats: int = Field(0, ge=0, le=500, description="screens that are shown a second time")
    practice: int = Field(0, ge=0, le=50, description="practice screens, which are not counted")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.questions)) < len(self.questions) or len(set(self.arms)) < len(self.arms):
            raise ValueError("expected each question and each arm once")
        if len(self.questions) > 1 and set(PAIRS) & set(self.questions):
            raise ValueError(f"expected {' and '.join(PAIRS)} alone: they show two pictures")
        return self


@dataclass(frozen=True)
class DrawnScreen:
    """A screen, its items for the key, and its pictures from left to right."""

    screen: Screen
    items: tuple[Item, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class _Wanted:
    """The content of a screen before it gets ids."""

    questions: tuple[Question, ...]
    names: tuple[str, ...]
    cells: tuple[ArmCell, ...]


def draw(tasks: Sequence[TaskPlan], arms: Mapping[str, Arm], seed: int) -> list[list[DrawnScreen]]:
    """Draw the practice round, then the screens of each task.

    Each arm of a task shows the same cells if the arms are made from the same photographs. Cell types are as equally
    frequent as possible, and cells that no other task shows are preferred. Ids are random and do not depend on the
    seed.

    Returns:
        One list of screens for the practice round (it may be empty), and one for each task. A repeat is in the list of
        its first showing, and its items refer to the first ones.

    Raises:
        InputError: an arm is unknown or has too few cells, or a question does not fit the arms.
    """
    used: Counter[str] = Counter()
    blocks = []
    for number, task in enumerate(tasks):
        rng = Random(f"{seed}/task/{number}")
        first = [_as_screen(wanted) for wanted in _sample(task, arms, task.cells, used, rng)]
        blocks.append(
            [
                *first,
                *(_again(shown) for shown in _balanced(rng.sample(first, len(first)), task.repeats, rng, _arms_of)),
            ]
        )
    practice = [
        _as_screen(wanted, practice=True)
        for number, task in enumerate(tasks)
        for wanted in _practice(task, arms, used, Random(f"{seed}/practice/{number}"))
    ]
    return [practice, *blocks]


def _sample(task: TaskPlan, arms: Mapping[str, Arm], count: int, used: Counter[str], rng: Random) -> list[_Wanted]:
    chosen = _chosen_arms(task, arms)
    if task.questions[0] is Question.PREFERENCE:
        return _preferences(chosen, count, used, rng)
    if task.questions[0] is Question.MORPHOLOGY:
        return _beside_originals(chosen, arms, count, used, rng)
    return [
        _Wanted(task.questions, (arm.name,), (arm.cells[cell],))
        for group in _of_same_photographs(chosen)
        for cell in _choose(group, count, used, rng)
        for arm in group
    ]


def _practice(task: TaskPlan, arms: Mapping[str, Arm], used: Counter[str], rng: Random) -> list[_Wanted]:
    """Draw a few screens, of all arms in turn, preferably of cells that the rest of the review does not show."""
    if task.practice == 0:
        return []
    by_arms: dict[tuple[str, ...], list[_Wanted]] = defaultdict(list)
    fewest = min(len(arm.cells) for arm in _chosen_arms(task, arms))
    for wanted in _sample(task, arms, min(task.practice, fewest), Counter(used), rng):
        by_arms[tuple(sorted(wanted.names))].append(wanted)
    turns = [
        screens[number] for number in range(task.practice) for screens in by_arms.values() if number < len(screens)
    ]
    return turns[: task.practice]


def _beside_originals(
    chosen: Sequence[Arm], arms: Mapping[str, Arm], count: int, used: Counter[str], rng: Random
) -> list[_Wanted]:
    found = []
    for group in _of_same_photographs(chosen):
        original = arms[group[0].of or group[0].name]
        for cell in _choose([*group, original], count, used, rng):
            found += [
                _Wanted((Question.MORPHOLOGY,), (ORIGINAL, arm.name), (original.cells[cell], arm.cells[cell]))
                for arm in group
            ]
    return found


def _preferences(chosen: Sequence[Arm], count: int, used: Counter[str], rng: Random) -> list[_Wanted]:
    """Draw cells for each pair of arms; each arm is on the left in half of the pair's screens."""
    found = []
    for pair in combinations(chosen, 2):
        if len(_of_same_photographs(pair)) > 1:
            raise InputError(
                f"expected arms of the same photographs for a preference, got {pair[0].name!r} and {pair[1].name!r}; "
                "name its arms in the task"
            )
        sides = list(islice(cycle((pair, pair[::-1])), count))
        rng.shuffle(sides)
        for cell, side in zip(_choose(pair, count, used, rng), sides, strict=True):
            found.append(
                _Wanted((Question.PREFERENCE,), tuple(a.name for a in side), tuple(a.cells[cell] for a in side))
            )
    return found


def _chosen_arms(task: TaskPlan, arms: Mapping[str, Arm]) -> list[Arm]:
    unknown = [name for name in task.arms if name not in arms]
    if unknown:
        raise InputError(f"expected arms of this review ({', '.join(arms)}), got {', '.join(unknown)}; mend `arms`")
    if task.arms:
        chosen = [arms[name] for name in task.arms]
    elif set(PAIRS) & set(task.questions):
        chosen = [arm for arm in arms.values() if arm.of is not None]
    else:
        chosen = list(arms.values())
    fewest = 2 if task.questions[0] is Question.PREFERENCE else 1
    if len(chosen) < fewest:
        raise InputError(
            f"expected at least {fewest} arm(s) to ask {task.questions[0]!r} of, got {[arm.name for arm in chosen]}; "
            "name them in `arms`"
        )
    return chosen


def _of_same_photographs(arms: Iterable[Arm]) -> list[list[Arm]]:
    groups: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        groups[arm.of or arm.name].append(arm)
    return list(groups.values())


def _choose(arms: Sequence[Arm], count: int, used: Counter[str], rng: Random) -> list[str]:
    """Choose cells that all arms have, and count them as used."""
    common = sorted(set.intersection(*(set(arm.cells) for arm in arms)))
    if len(common) < count:
        names = ", ".join(arm.name for arm in arms)
        raise InputError(
            f"expected at least {count} cells in each of the arms {names}, got {len(common)}; ask of fewer"
        )
    rng.shuffle(common)
    common.sort(key=lambda cell: used[cell])
    chosen = _balanced(common, count, rng, lambda cell: arms[0].cells[cell].cell_type)
    used.update(chosen)
    return chosen


def _balanced(values: Sequence[T], count: int, rng: Random, group_of: Callable[[T], Hashable]) -> list[T]:
    """Return `count` values, as equally many of each group as possible; within a group the first ones."""
    groups: dict[Hashable, list[T]] = defaultdict(list)
    for value in values:
        groups[group_of(value)].append(value)
    order = sorted(groups, key=repr)
    rng.shuffle(order)
    longest = max(map(len, groups.values()), default=0)
    turns = [groups[name][turn] for turn in range(longest) for name in order if turn < len(groups[name])]
    return turns[:count]


def _arms_of(shown: DrawnScreen) -> tuple[str, ...]:
    return tuple(sorted(shown.items[0].arms))


def _as_screen(wanted: _Wanted, *, practice: bool = False) -> DrawnScreen:
    screen = opaque_id()
    own = wanted.cells[-1]
    items = tuple(
        Item(opaque_id(), question, screen, wanted.names, own.cell, own.cell_type, own.site, practice=practice)
        for question in wanted.questions
    )
    return DrawnScreen(_screen_of(items), items, tuple(cell.picture for cell in wanted.cells))


def _again(first: DrawnScreen) -> DrawnScreen:
    """Return a repeat, with new ids for screen, items and pictures, so that it is not recognizable."""
    screen = opaque_id()
    items = tuple(replace(item, item=opaque_id(), shown=screen, repeat_of=item.item) for item in first.items)
    return DrawnScreen(_screen_of(items), items, first.pictures)


def _screen_of(items: Sequence[Item]) -> Screen:
    return Screen(
        items[0].shown,
        asks=tuple((item.item, item.question) for item in items),
        pictures=tuple(opaque_id() for _ in items[0].arms),
        practice=items[0].practice,
    )


def opaque_id() -> str:
    """Return a new unguessable id: 96 random bits, safe in URLs and file names."""
    return secrets.token_hex(12)
