from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from hemabridge.review.judgments import join
from hemabridge.review.records import Item, Question, Verdict
from hemabridge.review.reliability import agreements, disputes, repeats

MakeItems = Callable[..., list[Item]]
Read = Callable[..., list[Verdict]]
DRAWS = 400


def grade(center: int, spread: int) -> Callable[[Item, np.random.Generator], str]:
    return lambda _, rng: str(int(np.clip(center + rng.integers(-spread, spread + 1), 1, 5)))


def same_until(number: int, answer: str, then: str) -> Callable[[Item, np.random.Generator], str]:
    """Give one answer for cells below a number, another for the others."""
    return lambda item, _: answer if int(item.item.split("-")[1]) < number else then


def test_two_readers_who_agree_on_a_known_share(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=20, arms=("original",))
    verdicts = read("Ana", items, same_until(10, "target", "other")) + read(
        "Ben", items, same_until(14, "target", "other")
    )
    (found,) = agreements(join(items, verdicts), DRAWS)
    assert (found.readers, found.n, found.cells) == (("Ana", "Ben"), 20, 20)
    # 10 both target, 6 both other, 4 differ: kappa = (0.8 - 0.5) / 0.5, as 10/20 x 14/20 + 10/20 x 6/20 = 0.5
    assert found.observed.value == pytest.approx(0.8)
    assert found.cohen.value == pytest.approx(0.6)
    # Fleiss: pi = 0.6, chance 0.52; AC1: chance 2 x 0.6 x 0.4 = 0.48
    assert found.fleiss.value == pytest.approx((0.8 - 0.52) / 0.48)
    assert found.ac1.value == pytest.approx((0.8 - 0.48) / 0.52)
    assert found.weighted is None
    assert found.observed.interval is not None
    low, high = found.observed.interval
    assert low < 0.8 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 20), abs=0.06)


def test_three_readers_are_those_of_scikit_learn_and_statsmodels(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, cells=25, arms=("original", "epoch-0010"))
    verdicts = [v for seed, name in enumerate(("Ana", "Ben", "Cem")) for v in read(name, items, grade(3, 1), seed=seed)]
    *pairs, everybody = agreements(join(items, verdicts), DRAWS)
    counted = [item.item for item in items if not item.practice]
    said = {(v.reader, v.item): int(v.answer) for v in verdicts}
    answers = np.array([[said[name, item] for name in ("Ana", "Ben", "Cem")] for item in counted])
    plain, weighted = [], []
    for pair, (one, other) in zip(pairs, ((0, 1), (0, 2), (1, 2)), strict=True):
        sides = answers[:, one], answers[:, other]
        plain.append(cohen_kappa_score(*sides))
        weighted.append(cohen_kappa_score(*sides, weights="quadratic"))
        assert pair.cohen.value == pytest.approx(plain[-1])
        assert pair.weighted is not None
        assert pair.weighted.value == pytest.approx(weighted[-1])
    assert everybody.readers == ("Ana", "Ben", "Cem")
    assert (everybody.n, everybody.cells) == (50, 25)
    assert everybody.cohen.value == pytest.approx(np.mean(plain))
    assert everybody.weighted is not None
    assert everybody.weighted.value == pytest.approx(np.mean(weighted))
    assert everybody.fleiss.value == pytest.approx(fleiss_kappa(aggregate_raters(answers - 1, n_cat=5)[0]))


def test_intervals_are_wider_where_answers_about_a_cell_go_together(items_of: MakeItems, read: Read) -> None:
    """Four arms of 15 cells: if a cell is hard in all arms, there are 15 observations, not 60."""
    arms = ("original", "a", "b", "c")
    items = items_of(Question.ARTIFICIAL, cells=15, arms=arms)

    def by_cell(item: Item, _: np.random.Generator) -> str:
        return ("real", "artificial")[int(item.item.split("-")[1]) % 2]

    def by_picture(item: Item, _: np.random.Generator) -> str:
        _, number, place = item.item.split("-")[:3]
        return ("real", "artificial")[(int(number) * 4 + int(place)) % 2]

    widths = []
    for says in (by_cell, by_picture):
        verdicts = read("Ana", items, lambda *_: "real") + read("Ben", items, says)
        (found,) = agreements(join(items, verdicts), 1000)
        assert found.observed.value == pytest.approx(8 / 15 if says is by_cell else 1 / 2)
        widths.append(found.observed.interval)
    assert widths[0] is not None
    assert widths[0][1] - widths[0][0] > 0.4
    assert widths[1] is None  # every cell agrees in 2 of 4 arms: no draw differs


def test_readers_of_different_pictures_are_counted_where_they_meet(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=12, arms=("original",))
    verdicts = read("Ana", items[:9], lambda *_: "target") + read("Ben", items[5:], lambda *_: "target")
    (found,) = agreements(join(items, verdicts), DRAWS)
    assert found.n == 4
    assert (found.cohen.value, found.ac1.value) == (None, 1.0)
    assert found.observed.interval == pytest.approx(proportion_confint(4, 4, method="wilson"))
    assert found.ac1.interval is None
    apart = read("Ana", items[:5], lambda *_: "target") + read("Ben", items[5:], lambda *_: "target")
    assert agreements(join(items, apart), DRAWS) == ()


def test_each_fault_of_the_stain_is_an_aspect(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN_FAULTS, cells=10, arms=("original",))
    verdicts = read("Ana", items, lambda *_: "nucleus,background") + read("Ben", items, lambda *_: "nucleus")
    observed = {found.aspect: found.observed.value for found in agreements(join(items, verdicts), DRAWS)}
    assert observed == {
        "stain_faults: nucleus": 1.0,
        "stain_faults: cytoplasm": 1.0,
        "stain_faults: granules": 1.0,
        "stain_faults: background": 0.0,
    }


def test_sides_of_a_preference_do_not_matter(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.PREFERENCE, cells=10, arms=("original", "epoch-0010"))

    def prefers(arm: str) -> Callable[[Item, np.random.Generator], str]:
        return lambda item, _: "left" if item.arms[0] == arm else "right"

    verdicts = read("Ana", items, prefers("original")) + read("Ben", items, prefers("original"))
    assert agreements(join(items, verdicts), DRAWS)[0].observed.value == 1.0
    verdicts = read("Ana", items, prefers("original")) + read("Ben", items, prefers("epoch-0010"))
    assert agreements(join(items, verdicts), DRAWS)[0].observed.value == 0.0


def test_a_reader_against_himself(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, cells=12, arms=("original", "epoch-0010"), repeats=12)

    def harsher_the_second_time(item: Item, _: np.random.Generator) -> str:
        number = int(item.item.split("-")[1])
        return str(2 + number % 3 - (item.repeat_of is not None and number >= 3))

    verdicts = read("Ana", items, harsher_the_second_time) + read("Ben", items, lambda *_: "4")
    ana, ben, both = repeats(join(items, verdicts), DRAWS)
    assert (ana.reader, ana.n, ana.cells) == ("Ana", 12, 6)
    assert ana.observed.value == pytest.approx(0.5)
    first, second = [2, 3, 4, 2, 3, 4], [2, 3, 4, 1, 2, 3]
    assert ana.cohen.value == pytest.approx(cohen_kappa_score(first, second))
    assert ana.weighted is not None
    assert ana.weighted.value == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
    assert (ben.observed.value, ben.cohen.value) == (1.0, None)
    assert (both.reader, both.n, both.observed.value) == (None, 24, 0.75)


def test_without_repeats_nothing_is_said_of_them(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, cells=3)
    assert repeats(join(items, read("Ana", items, lambda *_: "4")), DRAWS) == ()


def test_pictures_that_readers_differ_on_come_worst_first(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, cells=4, arms=("epoch-0010",))
    grades = {"Ana": "5555", "Ben": "5415", "Cem": "5451"}
    verdicts = [v for n, own in grades.items() for v in read(n, items, lambda i, _, own=own: own[int(i.item[6:9])])]
    found = disputes(join(items, verdicts))
    assert [one.shown for one in found] == ["stain-002-0-screen", "stain-003-0-screen", "stain-001-0-screen"]
    assert [(said.reader, said.answer) for said in found[0].answers] == [("Ana", "5"), ("Ben", "1"), ("Cem", "5")]
    # (5, 1, 5): two pairs are 4 apart, of three: 2/3. (5, 4, 4): two pairs are 1 apart: 2/3 / 16
    assert [one.disagreement for one in found] == pytest.approx([2 / 3, 2 / 3, 2 / 48])
    assert (found[0].arms, found[0].cell_type, found[0].site) == (("epoch-0010",), "blast", "theirs")


def test_places_of_changes_are_kept(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.MORPHOLOGY, cells=1, arms=("epoch-0010",))
    verdicts = read("Ana", items, lambda *_: "changed") + read("Ben", items, lambda *_: "unchanged")
    (found,) = disputes(join(items, verdicts))
    assert found.arms == ("original", "epoch-0010")
    assert [(said.answer, said.place) for said in found.answers] == [("changed", (0.25, 0.5)), ("unchanged", None)]
    assert found.disagreement == 1.0
