from collections.abc import Callable
from dataclasses import replace

import pytest

from hemabridge.errors import RunError
from hemabridge.review.judgments import Truth, by_aspect, categories_of, category, check_together, join
from hemabridge.review.records import Item, Question, Verdict

MakeItems = Callable[..., list[Item]]
Read = Callable[..., list[Verdict]]


def test_practice_is_left_out_and_arms_are_named(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=3)
    found = join(items, read("Ana", items, lambda *_: "target"))
    assert len(found) == 12
    assert [j.arm for j in found[:4]] == ["original", "epoch-0010", "epoch-0020", "target"]
    assert [j.is_photograph for j in found[:4]] == [True, False, False, True]
    assert [j.is_target for j in found[:4]] == [False, False, False, True]


def test_what_the_arms_are_can_be_told(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.ARTIFICIAL, cells=1, arms=("ours", "theirs", "made"))
    found = join(items, read("Ana", items, lambda *_: "real"), Truth("ours", ("theirs",)))
    assert [(j.is_photograph, j.is_target) for j in found] == [(True, True), (True, False), (False, False)]


def test_a_fault_is_present_or_absent(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN_FAULTS, cells=1, arms=("original",))
    found = join(items, read("Ana", items, lambda *_: "cytoplasm,background"))
    assert [(j.aspect.partition(": ")[2], j.answer) for j in found] == [
        ("nucleus", "absent"),
        ("cytoplasm", "present"),
        ("granules", "absent"),
        ("background", "present"),
    ]
    assert {j.answer for j in join(items, read("Ana", items, lambda *_: ""))} == {"absent"}


def test_a_preference_is_for_an_arm_whatever_its_side(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.PREFERENCE, cells=2, arms=("original", "epoch-0010"))
    found = join(items, read("Ana", items, lambda item, _: "left" if item.arms[0] == "original" else "right"))
    assert {j.item.arms for j in found} == {("original", "epoch-0010"), ("epoch-0010", "original")}
    assert {(j.answer, category(j)) for j in found} == {("original", "second")}  # second by name
    assert {(j.answer, category(j)) for j in join(items, read("Ana", items, lambda *_: "equal"))} == {("equal",) * 2}


def test_cell_types_are_those_of_the_key_and_of_the_answers(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.CELL_TYPE, cells=4)
    found = join(items, read("Ana", items, lambda item, _: "unsure" if item.arms == ("target",) else "monocyte"))
    assert categories_of("cell_type", found) == ("blast", "monocyte", "neutrophil", "unsure")


def test_aspects_come_in_the_order_of_the_questions(items_of: MakeItems, read: Read) -> None:
    stain = items_of(Question.STAIN, Question.LABORATORY, cells=1)
    says = {Question.STAIN: "4", Question.LABORATORY: "other"}
    assert list(by_aspect(join(stain, read("Ana", stain, lambda item, _: says[item.question])))) == [
        "laboratory",
        "stain",
    ]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (Question.LABORATORY, "ours"),
        (Question.ARTIFICIAL, ""),
        (Question.STAIN, "6"),
        (Question.STAIN, "4.0"),
        (Question.STAIN_FAULTS, "background,nucleus"),
        (Question.STAIN_FAULTS, "nucleus,nucleus"),
        (Question.STAIN_FAULTS, "color"),
        (Question.MORPHOLOGY, "Changed"),
        (Question.PREFERENCE, "original"),
        (Question.CELL_TYPE, ""),
        (Question.CELL_TYPE, "x" * 201),
        (Question.CELL_TYPE, "a\nb"),
    ],
)
def test_what_is_no_answer_is_refused(items_of: MakeItems, read: Read, question: Question, answer: str) -> None:
    items = items_of(question, cells=1)
    with pytest.raises(RunError, match=f"expected an answer to {question.value}.*of 'Ana' on {question.value}-000"):
        join(items, read("Ana", items, lambda *_: answer))


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"order": -1},
        {"place": (0.5, 1.01)},
        {"place": (float("nan"), 0.5)},
        {"place": (0.5, None)},
        {"answer": "unchanged", "place": (0.5, 0.5)},
    ],
)
def test_impossible_times_and_places_are_refused(items_of: MakeItems, read: Read, wrong: dict) -> None:
    items = items_of(Question.MORPHOLOGY, cells=1)
    verdicts = read("Ana", items, lambda *_: "changed")
    with pytest.raises(RunError, match="changed by something else"):
        join(items, [*verdicts[:-1], replace(verdicts[-1], **wrong)])


def test_verdicts_of_another_review_and_doubled_ones_are_refused(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, cells=2)
    verdicts = read("Ana", items, lambda *_: "4")
    with pytest.raises(RunError, match=r"got one on 'stain-001-3-item'; key and store are of different reviews"):
        join(items[:-1], verdicts)
    with pytest.raises(RunError, match="one verdict of 'Ana' on stain-000-0-item, got two"):
        join(items, [*verdicts, verdicts[1]])


def test_key_and_store_must_hold_the_same_items(items_of: MakeItems) -> None:
    items = items_of(Question.STAIN, cells=1)
    stored = [(item.item, item.shown, item.question.value) for item in items]
    check_together(items, stored[::-1])
    for other in (stored[1:], [*stored, ("more", "more", "stain")], [(*stored[0][:2], "laboratory"), *stored[1:]]):
        with pytest.raises(RunError, match=r"expected the 5 items of the key in the store, got \d, of which \d are"):
            check_together(items, other)
