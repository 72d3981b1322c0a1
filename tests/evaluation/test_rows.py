from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.rows import count_changed, make_confusion, make_row, paired_tests, work_out_mode

CLASSES = ("atypical", "blast", "reactive")


def run(truth: list[int], predicted: list[int], **changes: Any) -> Predictions:
    probabilities = np.full((len(truth), 3), 0.1, dtype=np.float32)
    probabilities[np.arange(len(truth)), predicted] = 0.8
    fields: dict[str, Any] = {
        "site": "foreign",
        "part": "test",
        "classifier": "resnet34",
        "images": "original",
        "snapshot": None,
        "labels_used": 0,
        "ids": tuple(f"{index:03d}.png" for index in range(len(truth))),
        "truth": np.array(truth, dtype=np.int64),
        "probabilities": probabilities,
    }
    return Predictions(**{**fields, **changes})


def random_run(seed: int, truth: list[int], **changes: Any) -> Predictions:
    rng = np.random.default_rng(seed)
    return run(truth, [t if rng.random() < 0.6 else int(rng.integers(0, 3)) for t in truth], **changes)


def test_the_papers_best_result_as_a_row() -> None:
    truth = [0] * 25 + [1] * 37 + [2] * 30
    predicted = [0] * 25 + [1] * 37 + [0] * 14 + [1] * 3 + [2] * 13
    predictions = run(truth, predicted, images="cyclegan", snapshot="015")
    row = make_row(predictions, CLASSES, mode="transductive", seed=7)
    assert row.accuracy == pytest.approx(0.8152, abs=5e-5)
    assert row.interval == pytest.approx((0.724, 0.881), abs=6e-4)
    assert row.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert row.recall == pytest.approx({"atypical": 1.0, "blast": 1.0, "reactive": 13 / 30})
    assert (row.n, row.mode, row.seed, row.images, row.snapshot) == (92, "transductive", 7, "cyclegan", "015")
    confusion = make_confusion(predictions, CLASSES)
    assert confusion.counts == ((25, 0, 0), (0, 37, 0), (14, 3, 13))
    assert confusion.classes == CLASSES


def test_row_and_confusion_refuse_another_number_of_classes() -> None:
    predictions = run([0, 1], [0, 1])
    with pytest.raises(ValueError, match="expected 2 classes"):
        make_row(predictions, CLASSES[:2], mode="none", seed=0)
    with pytest.raises(ValueError, match="expected 2 classes"):
        make_confusion(predictions, CLASSES[:2])


def test_count_changed_by_hand_and_in_any_order() -> None:
    original = run([0, 0, 1, 1, 2], [0, 1, 0, 1, 0])  # right: 0 and 3
    restained = run([0, 0, 1, 1, 2], [1, 0, 1, 1, 0], images="cyclegan")  # right: 1, 2 and 3
    assert count_changed(original, restained) == (2, 1)
    order = [4, 2, 0, 3, 1]
    shuffled = Predictions(
        *restained.run,
        ids=tuple(restained.ids[i] for i in order),
        truth=restained.truth[order],
        probabilities=restained.probabilities[order],
    )
    assert count_changed(original, shuffled) == (2, 1)


def test_paired_tests_agree_with_statsmodels_over_the_whole_study() -> None:
    truth = [index % 3 for index in range(80)]
    runs = []
    for seed, (classifier, labels) in enumerate([("r18", 0), ("r34", 0), ("r34", 40)]):
        named = {"classifier": classifier, "labels_used": labels}
        runs.append(random_run(seed, truth, **named))
        runs += [random_run(10 * seed + k, truth, **named, images="gan", snapshot=f"{k}") for k in (3, 4)]
    tests = paired_tests(runs)
    assert [(t.classifier, t.labels_used, t.snapshot) for t in tests] == [
        (c, labels, snapshot) for c, labels in (("r18", 0), ("r34", 0), ("r34", 40)) for snapshot in ("3", "4")
    ]
    for index, test in enumerate(tests):
        original, restained = runs[3 * (index // 2)], runs[3 * (index // 2) + 1 + index % 2]
        was, now = original.predicted == original.truth, restained.predicted == restained.truth
        table = [[np.sum(was & now), np.sum(was & ~now)], [np.sum(~was & now), np.sum(~was & ~now)]]
        assert (test.rescued, test.broken) == (table[1][0], table[0][1])
        assert test.p == pytest.approx(float(mcnemar(table, exact=True).pvalue))
    assert [t.p_holm for t in tests] == pytest.approx(multipletests([t.p for t in tests], method="holm")[1])


def test_a_study_without_restained_images_has_no_paired_test() -> None:
    assert paired_tests([run([0, 1], [0, 1])]) == ()


def test_paired_tests_refuse_restained_images_without_their_originals() -> None:
    restained = run([0, 1], [0, 1], images="gan", labels_used=40)
    with pytest.raises(ValueError, match="on the original images"):
        paired_tests([run([0, 1], [0, 1]), restained])


def test_paired_tests_refuse_other_cells_other_truth_two_parts_and_repeats() -> None:
    original, gan = run([0, 1], [0, 1]), {"images": "gan", "snapshot": "1"}
    with pytest.raises(ValueError, match="same cells"):
        paired_tests([original, run([0, 1], [0, 1], ids=("a", "b"), **gan)])
    with pytest.raises(ValueError, match="same true classes"):
        paired_tests([original, run([0, 2], [0, 1], **gan)])
    with pytest.raises(ValueError, match="one part"):
        paired_tests([original, run([0, 1], [0, 1], part="train", **gan)])
    with pytest.raises(ValueError, match="got one twice"):
        paired_tests([original, original])


@pytest.mark.parametrize(
    ("seen", "mode"),
    [
        (None, "none"),
        ([], "strict"),
        (["x", "y"], "strict"),
        (["x", "a"], "transductive"),
        (["a", "b", "c"], "transductive"),
    ],
)
def test_mode_follows_from_the_hashes(seen: list[str] | None, mode: str) -> None:
    assert work_out_mode(["a", "b"], seen) == mode


def test_mode_is_not_guessed_where_a_hash_is_missing() -> None:
    with pytest.raises(ValueError, match="an empty one"):
        work_out_mode(["a", ""], ["x"])
    with pytest.raises(ValueError, match="an empty one"):
        work_out_mode(["a"], [""])
