from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hemabridge.evaluation.reading import ArmScore
from hemabridge.review.judgments import join
from hemabridge.review.records import Item, Question, Verdict
from hemabridge.review.scores import ACCEPTED, MEAN, arm_scores, discrimination, preferences

MakeItems = Callable[..., list[Item]]
Read = Callable[..., list[Verdict]]
DRAWS = 400


def number_of(item: Item) -> int:
    return int(item.item.split("-")[1])


def score_of(scores: tuple[ArmScore, ...], measure: str, arm: str, reader: str | None = None) -> ArmScore:
    (found,) = [s for s in scores if (s.measure, s.arm, s.reader) == (measure, arm, reader)]
    return found


def test_shares_of_an_arm_and_their_intervals(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=20, repeats=20)

    def says(item: Item, _: np.random.Generator) -> str:
        if item.repeat_of is not None:  # must not be counted
            return "other"
        limit = {"original": 2, "epoch-0010": 12, "epoch-0020": 20, "target": 19}[item.arms[0]]
        return "target" if number_of(item) < limit else "other"

    scores = arm_scores(join(items, read("Ana", items, says) + read("Ben", items, says)), DRAWS)
    taken = score_of(scores, "taken for the target's", "epoch-0010")
    assert (taken.n, taken.cells, taken.share) == (40, 20, 0.6)
    assert score_of(scores, "laboratory, right", "epoch-0010").share == pytest.approx(0.4)
    assert score_of(scores, "laboratory, right", "target").share == pytest.approx(0.95)
    own = score_of(scores, "taken for the target's", "epoch-0010", "Ben")
    assert (own.n, own.cells) == (20, 20)
    assert own.interval == pytest.approx(proportion_confint(12, 20, method="wilson"))
    assert taken.interval is not None  # two readers who say the same are one vote for each cell
    assert taken.interval[1] - taken.interval[0] == pytest.approx(2 * 1.96 * np.sqrt(0.6 * 0.4 / 20), abs=0.06)
    assert taken.difference is not None
    assert taken.difference.value == pytest.approx(0.5)
    assert taken.difference.interval is not None
    assert 0.2 < taken.difference.interval[0] < 0.5 < taken.difference.interval[1] < 0.8
    always = score_of(scores, "taken for the target's", "epoch-0020")
    assert always.interval == pytest.approx(proportion_confint(20, 20, method="wilson"))
    assert score_of(scores, "taken for the target's", "original").difference is None


def test_a_difference_is_of_the_same_cells(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, cells=30, arms=("original", "epoch-0010"))
    says = {"original": lambda n: "45"[n % 2], "epoch-0010": lambda n: "34"[n % 2] if n else "4"}
    verdicts = read("Ana", items, lambda item, _: says[item.arms[0]](number_of(item)))
    found = score_of(arm_scores(join(items, verdicts), DRAWS), MEAN, "epoch-0010")
    assert (found.share, found.n) == (pytest.approx(3.5 + 1 / 30), 30)
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] > 0.2
    assert found.difference is not None
    assert found.difference.value == pytest.approx(-29 / 30)  # of each cell but one
    assert found.difference.interval == pytest.approx((-1, -0.9), abs=1e-9)


def test_a_picture_is_accepted_if_nothing_of_it_is_refused(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.STAIN, Question.MORPHOLOGY, cells=10, arms=("original", "epoch-0010"))

    def says(item: Item, _: np.random.Generator) -> str:
        if item.question is Question.STAIN:
            return "4" if number_of(item) < 8 else "3"
        return "changed" if number_of(item) in (0, 9) else "unchanged"

    scores = arm_scores(join(items, read("Ana", items, says)), DRAWS)
    assert score_of(scores, "stain, 4 or 5", "epoch-0010").share == pytest.approx(0.8)
    assert score_of(scores, "morphology unchanged", "epoch-0010").share == pytest.approx(0.8)
    assert score_of(scores, ACCEPTED, "epoch-0010").share == pytest.approx(0.7)  # all but 0, 8 and 9
    only = [item for item in items if item.question is Question.MORPHOLOGY]
    scores = arm_scores(join(items, read("Ana", only, says)), DRAWS)
    assert score_of(scores, ACCEPTED, "epoch-0010").share == pytest.approx(0.8)


def test_cell_types_are_right_or_unsure_and_unknown_ones_do_not_count(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.CELL_TYPE, cells=10, arms=("epoch-0010",))
    items = [replace(i, cell_type="") if number_of(i) == 9 else i for i in items]
    verdicts = read("Ana", items, lambda item, _: "unsure" if number_of(item) < 2 else "blast")
    scores = arm_scores(join(items, verdicts), DRAWS)
    right = score_of(scores, "cell type, right", "epoch-0010")
    assert (right.n, right.share) == (9, pytest.approx(4 / 9))  # 2, 4, 6 and 8 are blasts; 0 was unsure
    assert score_of(scores, "cell type, unsure", "epoch-0010").share == pytest.approx(0.2)


def test_d_prime_of_a_simulated_observer_is_recovered(items_of: MakeItems, read: Read) -> None:
    """An observer of equal variances with d' 1.5 against re-stained cells, and none against photographs."""
    items = items_of(Question.ARTIFICIAL, cells=300, arms=("original", "epoch-0010", "target"))

    def says(item: Item, rng: np.random.Generator) -> str:
        strength = rng.normal(1.5 if item.arms == ("epoch-0010",) else 0.0)
        return "artificial" if strength > 1.0 else "real"

    found = discrimination(join(items, read("Ana", items, says, seed=1) + read("Ben", items, says, seed=2)), DRAWS)
    assert [(one.arm, one.reader) for one in found] == [
        ("epoch-0010", None),
        ("epoch-0010", "Ana"),
        ("epoch-0010", "Ben"),
    ]
    both = found[0]
    assert (both.signals, both.noises) == (600, 1200)
    assert both.hits / 600 == pytest.approx(norm.cdf(0.5), abs=0.06)
    assert both.d_prime.value == pytest.approx(1.5, abs=0.2)
    assert both.criterion == pytest.approx(0.25, abs=0.1)  # halfway would be 0.75
    assert both.d_prime.interval is not None
    low, high = both.d_prime.interval
    assert low < 1.5 < high
    assert 0.1 < high - low < 0.5


def test_a_reader_who_guesses_has_no_d_prime(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=200, arms=("epoch-0010", "target"))
    verdicts = read("Ana", items, lambda _, rng: "other" if rng.random() < 0.8 else "target")
    (both, _) = discrimination(join(items, verdicts), DRAWS)
    assert both.aspect == "laboratory"
    assert both.d_prime.value == pytest.approx(0, abs=0.35)
    assert both.d_prime.interval is not None
    assert both.d_prime.interval[0] < 0 < both.d_prime.interval[1]
    assert both.criterion < -0.5


def test_without_photographs_of_the_target_nothing_can_be_told_apart(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.LABORATORY, cells=5, arms=("original", "epoch-0010"))
    assert discrimination(join(items, read("Ana", items, lambda *_: "other")), DRAWS) == ()


def test_preferences_are_counted_by_pair_of_arms(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.PREFERENCE, cells=20, arms=("epoch-0010", "epoch-0020", "reinhard"))

    def says(item: Item, _: np.random.Generator) -> str:
        if "reinhard" in item.arms:
            return "equal"
        wanted = "epoch-0010" if number_of(item) < 16 else "epoch-0020"
        return ("left", "right")[item.arms.index(wanted)]

    found = {(one.first, one.second): one for one in preferences(join(items, read("Ana", items, says)), DRAWS)}
    assert list(found) == [("epoch-0010", "epoch-0020"), ("epoch-0020", "reinhard"), ("epoch-0010", "reinhard")]
    decided = found["epoch-0010", "epoch-0020"]
    assert (decided.first_better, decided.second_better, decided.equal, decided.cells) == (16, 4, 0, 20)
    assert decided.share.value == pytest.approx(0.8)
    assert decided.p == pytest.approx(binomtest(16, 20, 0.5).pvalue)
    tied = found["epoch-0010", "reinhard"]
    assert (tied.equal, tied.share.value, tied.p) == (20, None, 1.0)
    expected = multipletests([one.p for one in found.values()], method="holm")[1]
    assert [one.p_holm for one in found.values()] == pytest.approx(list(expected))


def test_readers_of_one_cell_have_one_vote_in_the_sign_test(items_of: MakeItems, read: Read) -> None:
    items = items_of(Question.PREFERENCE, cells=6, arms=("a", "b"))[:7:2]  # a pair of each of three cells
    says = [lambda item, _: ("left", "right")[item.arms.index("a")]] * 2
    verdicts = [v for name, one in zip(("Ana", "Ben"), says, strict=True) for v in read(name, items, one)]
    (found,) = preferences(join(items, verdicts), DRAWS)
    assert found.first_better == 2 * found.cells
    assert found.p == pytest.approx(2 * 0.5**found.cells)
