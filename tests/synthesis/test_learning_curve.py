import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import bootstrap

from hemabridge.errors import InputError
from hemabridge.synthesis.learning_curve import (
    AGAINST,
    ARMS,
    LearningCurve,
    LearningCurveRow,
    Score,
    in_words,
    score_arms,
)

RARE = 2
TRUTH = np.repeat([0, 1, 2], [40, 40, 20])


def hits(rates: tuple[float, float, float], seeds: int = 2, *, seed: int = 0) -> np.ndarray:
    """Which cells are classified correctly, bool[seeds, 100], each class at its rate."""
    rng = np.random.default_rng(seed)
    return rng.random((seeds, len(TRUTH))) < np.array(rates)[TRUTH]


def scored(right: dict[str, np.ndarray], **changes: int) -> dict[str, LearningCurveRow]:
    rows = score_arms(TRUTH, right, RARE, real=5, added={"synthetic": 7, "real": 7}, **changes)
    return {row.arm: row for row in rows}


def test_scores_are_means_of_recalls_over_classes_and_then_seeds() -> None:
    right = np.zeros((2, 100), dtype=bool)
    right[0, :40] = True  # recalls 1, 0, 0
    right[1, 40:50] = True  # recalls 0, 1/4, 1/2
    right[1, 80:90] = True
    row = scored({"nothing": right})["nothing"]
    assert row.by_seed == ((pytest.approx(1 / 3), 0.0), (pytest.approx(1 / 4), 0.5))
    assert row.balanced_accuracy.value == pytest.approx(7 / 24)
    assert row.recall.value == pytest.approx(0.25)
    assert (row.real, row.added, row.against, row.balanced_gain) == (5, 0, None, None)


def test_the_interval_of_one_seed_is_that_of_scipys_bootstrap() -> None:
    right = hits((0.9, 0.8, 0.6), seeds=1)
    row = scored({"nothing": right})["nothing"]
    own = right[0, TRUTH == RARE].astype(float)
    expected = bootstrap((own,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert row.recall.interval == pytest.approx((expected.low, expected.high), abs=0.051)
    parts = tuple(right[0, label == TRUTH].astype(float) for label in range(3))

    def mean_recall(*classes: np.ndarray, axis: int) -> np.ndarray:
        return np.mean([one.mean(axis=axis) for one in classes], axis=0)

    expected = bootstrap(parts, mean_recall, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert row.balanced_accuracy.interval == pytest.approx((expected.low, expected.high), abs=0.015)


def test_seeds_that_disagree_widen_the_interval_although_the_cells_are_certain() -> None:
    right = np.zeros((2, 100), dtype=bool)
    right[0] = True
    row = scored({"nothing": right})["nothing"]
    # Two seeds of 1 and 0, drawn with replacement: the mean is 0, 1/2 or 1, each end with probability 1/4.
    assert row.balanced_accuracy == Score(0.5, (0.0, 1.0))
    assert row.recall == Score(0.5, (0.0, 1.0))


def test_gains_are_paired_by_cell_and_by_seed() -> None:
    base = np.zeros((2, 100), dtype=bool)
    base[0, ::2] = True  # the seeds differ widely
    better = base.copy()
    better[:, TRUTH == RARE] = True
    rows = scored({"nothing": base, "synthetic": better})
    gain = rows["synthetic"].recall_gain
    assert gain is not None
    assert gain.value == pytest.approx(0.75)  # 1 - (1/2 + 0) / 2
    assert gain.interval[0] > 0.3
    assert rows["synthetic"].effect("recall") == "helps"
    same = scored({"nothing": base, "augmented": base.copy()})["augmented"]
    assert same.balanced_gain == Score(0.0, (0.0, 0.0))
    assert same.effect("balanced") == "not shown"
    worse = scored({"nothing": better, "synthetic": base})["synthetic"]
    assert worse.effect("recall") == "harms"


def test_each_arm_is_compared_with_what_it_is_built_upon() -> None:
    rows = scored({arm: hits((0.9, 0.9, 0.5), seed=place) for place, arm in enumerate(ARMS)})
    assert list(rows) == list(ARMS)
    assert {arm: row.against for arm, row in rows.items()} == {"nothing": None, **AGAINST}
    assert {arm for arm, row in rows.items() if row.added} == {"synthetic", "real"}
    alone = scored({"nothing": hits((0.9, 0.9, 0.5)), "usual and synthetic": hits((0.9, 0.9, 0.9))})
    assert alone["usual and synthetic"].against is None
    assert alone["usual and synthetic"].effect("recall") is None


@pytest.fixture
def learning_curve() -> LearningCurve:
    """Two numbers of real cells: synthetic ones helped at 5, and at 50 they did nothing beside the usual."""
    few = score_arms(
        TRUTH,
        {
            "nothing": hits((1, 1, 0)),
            "synthetic": hits((1, 1, 1)),
            "usual": hits((1, 1, 1)),
            "usual and synthetic": hits((1, 1, 1)),
        },
        RARE,
        real=5,
        added={"synthetic": 7},
    )
    many = [replace(row, real=50) for row in few]
    counts = {"a": 40, "b": 40}
    return LearningCurve("c", "a", ("a", "b", "c"), counts, {**counts, "c": 20}, 100, 50, (0, 1), (*few, *many))


def test_json_there_and_back(learning_curve: LearningCurve, tmp_path: object) -> None:
    assert LearningCurve.from_json(learning_curve.to_json()) == learning_curve
    assert (learning_curve.reals, learning_curve.arms) == (
        (5, 50),
        ("nothing", "synthetic", "usual", "usual and synthetic"),
    )
    assert learning_curve.row(50, "real") is None


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"rows": "none"}, {"seeds": ["0"]}, {"more": 1}],
    ids=["another version", "no rows", "text for a number", "an unknown key"],
)
def test_other_json_is_refused(learning_curve: LearningCurve, change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"expected learning-curve\.json"):
        LearningCurve.from_json(json.dumps({**json.loads(learning_curve.to_json()), **change}))


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"format": 1}'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"expected learning-curve\.json"):
        LearningCurve.from_json(text)


def test_the_sentences_say_where_nothing_was_shown(learning_curve: LearningCurve) -> None:
    assert in_words(learning_curve) == [
        "Beside the real cells alone, by balanced accuracy, synthetic cells helped at 5 and 50 real cells.",
        "Beside the real cells alone, by recall of c, synthetic cells helped at 5 and 50 real cells.",
        "Beside augmentation and oversampling, by balanced accuracy, synthetic cells made no difference that is shown "
        "at 5 and 50 real cells.",
        "Beside augmentation and oversampling, by recall of c, synthetic cells made no difference that is shown at 5 "
        "and 50 real cells.",
    ]


def test_the_sentences_part_the_numbers_by_what_was_shown(learning_curve: LearningCurve) -> None:
    harmed = score_arms(TRUTH, {"nothing": hits((1, 1, 1)), "synthetic": hits((1, 1, 0))}, RARE, real=9, added={})
    mixed = replace(learning_curve, rows=(*learning_curve.rows[:2], *harmed))
    assert in_words(mixed)[0] == (
        "Beside the real cells alone, by balanced accuracy, synthetic cells helped at 5; they harmed at 9 real cells."
    )
