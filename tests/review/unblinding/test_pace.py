from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from hemabridge.review.judgments import join
from hemabridge.review.pace import stretches, trends
from hemabridge.review.records import Item, Question, Verdict

MakeItems = Callable[..., list[Item]]
Read = Callable[..., list[Verdict]]


def in_order(verdicts: list[Verdict]) -> list[Verdict]:
    """Give the verdicts places in the order of the list."""
    return [replace(verdict, order=place) for place, verdict in enumerate(verdicts)]


def test_time_is_that_of_screens_and_the_session_is_cut_in_four(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=10, arms=("original",), repeats=2)
    verdicts = in_order(read("Ana", items, lambda *_: "other"))
    verdicts = [replace(v, seconds=1.0 + v.order) for v in verdicts]  # practice is place 0, then 2, 3, .. 13 seconds
    whole, *parts = stretches(join(items, verdicts))
    assert (whole.part, whole.screens, whole.right, whole.asked, whole.judged) == (0, 12, 12, 12, 0)
    assert whole.seconds == pytest.approx(tuple(np.quantile(np.arange(2, 14), [0.25, 0.5, 0.75])))
    assert [(part.part, part.screens, part.seconds[1]) for part in parts] == [
        (1, 3, 3),
        (2, 3, 6),
        (3, 3, 9),
        (4, 3, 12),
    ]


def test_questions_of_one_screen_are_one_look(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, Question.STAIN_FAULTS, cells=4, arms=("original",))
    items = [replace(item, shown=item.shown.replace("stain_faults", "stain")) for item in items]
    said = {Question.STAIN: "4", Question.STAIN_FAULTS: "nucleus"}
    (whole,) = stretches(join(items, read("Ana", items, lambda item, _: said[item.question])))
    assert (whole.screens, whole.accepted, whole.judged) == (4, 4, 4)  # too short to be cut


def test_a_reader_who_learns_gets_faster_and_better(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=40, arms=("original",))
    rng = np.random.default_rng(1)
    verdicts = in_order(read("Ana", items, lambda *_: "other"))
    learning = [
        replace(v, answer="other" if rng.random() < 0.4 + v.order / 80 else "target", seconds=9 - v.order / 8)
        for v in verdicts
    ]
    parts = stretches(join(items, learning))[1:]
    assert [part.asked for part in parts] == [10] * 4
    assert parts[3].right > parts[0].right
    found = {trend.what: trend for trend in trends(join(items, learning))}
    assert set(found) == {"seconds", "right"}
    assert found["seconds"].tau == pytest.approx(-1)
    counted = learning[1:]
    expected = kendalltau([v.order for v in counted], [v.answer == "other" for v in counted])
    assert (found["right"].tau, found["right"].p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found["right"].tau is not None
    assert found["right"].tau > 0


def test_a_trend_without_any_difference_is_none(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.MORPHOLOGY, cells=5, arms=("epoch-0010",))
    found = trends(join(items, read("Ana", items, lambda *_: "unchanged")))
    assert [(trend.what, trend.n, trend.tau, trend.p) for trend in found] == [
        ("seconds", 5, None, None),
        ("accepted", 5, None, None),
    ]


def test_a_change_of_task_is_no_learning(items_of: MakeItems, read: Read) -> None:
    """Two tasks, one after the other, the second one slow and easy; no reader changes within a task."""
    items = items_of(Question.LABORATORY, Question.ARTIFICIAL, cells=24, arms=("original",))
    says = {Question.LABORATORY: ("other", "target"), Question.ARTIFICIAL: ("real", "real")}
    verdicts = in_order(read("Ana", items, lambda item, _: says[item.question][int(item.item.split("-")[1]) % 2]))
    slow = [replace(v, seconds=2.0 + v.order % 2 if "laboratory" in v.item else 20.0 + v.order % 2) for v in verdicts]
    _, *parts = stretches(join(items, slow))
    assert [(part.screens, part.right, part.asked) for part in parts] == [(12, 9, 12)] * 4
    assert len({part.seconds for part in parts}) == 1
    assert all(abs(trend.tau) < 0.1 for trend in trends(join(items, slow)) if trend.tau is not None)
