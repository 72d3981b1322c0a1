from collections.abc import Callable

import numpy as np
import pytest

from hemabridge.evaluation.labels_saved import labels_saved, labels_to_reach
from hemabridge.evaluation.paired_bootstrap import draw_scores
from hemabridge.evaluation.predictions import Predictions

MakeRun = Callable[..., Predictions]
TRUTH = np.zeros(100, dtype=np.int64)


def right(count: int) -> list[int]:
    return [0] * count + [1] * (100 - count)


@pytest.mark.parametrize(
    ("accuracies", "wanted", "expected"),
    [
        ((0.4, 0.6, 0.8), 0.5, pytest.approx(4)),  # half of the way from 0 to 8
        ((0.4, 0.6, 0.8), 0.7, pytest.approx(20)),  # half of the way from 8 to 32
        ((0.4, 0.6, 0.8), 0.6, 8.0),
        ((0.4, 0.6, 0.8), 0.3, 0.0),  # no label is needed
        ((0.4, 0.6, 0.8), 0.81, None),  # more than were tried
        ((0.4, 0.3, 0.8), 0.4, 0.0),
        ((0.4, 0.3, 0.8), 0.45, pytest.approx(8 + 24 * 0.15 / 0.5)),
    ],
)
def test_labels_are_read_off_the_broken_line(
    accuracies: tuple[float, ...], wanted: float, expected: float | None
) -> None:
    assert labels_to_reach((0, 8, 32), accuracies, wanted) == expected


def test_the_broken_line_is_that_of_numpy() -> None:
    for wanted in np.linspace(0.4, 0.8, 9):
        found = labels_to_reach((0, 8, 32), (0.4, 0.6, 0.8), float(wanted))
        assert found is not None
        assert np.interp(found, (0, 8, 32), (0.4, 0.6, 0.8)) == pytest.approx(wanted)


def study(make_run: MakeRun, counts: dict[int, int], restained: int) -> list[Predictions]:
    runs = [make_run(right(hits), TRUTH, labels_used=k) for k, hits in counts.items()]
    return [*runs, make_run(right(restained), TRUTH, images="cyclegan", snapshot="epoch-0020")]


def test_a_restaining_is_worth_the_labels_that_reach_its_accuracy(make_run: MakeRun) -> None:
    runs = study(make_run, {0: 40, 8: 60, 32: 80}, 70)
    (found,) = labels_saved(runs, draw_scores(runs, None, 0))
    assert (found.classifier, found.images, found.snapshot) == ("net", "cyclegan", "epoch-0020")
    assert found.curve == ((0, 0.4), (8, 0.6), (32, 0.8))
    assert (found.accuracy, found.labels) == (0.7, pytest.approx(20))
    low, high = found.interval
    assert low is not None
    assert high is not None
    assert 8 < low < 20 < high < 32


def test_more_labels_than_were_tried_have_no_number(make_run: MakeRun) -> None:
    runs = study(make_run, {0: 10, 8: 20, 32: 30}, 95)
    (found,) = labels_saved(runs, draw_scores(runs, None, 0))
    assert (found.labels, found.interval) == (None, (None, None))
    runs = study(make_run, {0: 70, 8: 80, 32: 90}, 20)
    (found,) = labels_saved(runs, draw_scores(runs, None, 0))
    assert (found.labels, found.interval) == (0.0, (0.0, 0.0))


def test_an_end_of_the_interval_may_lie_beyond_what_was_tried(make_run: MakeRun) -> None:
    """Cells are nested here, so draws in which the last point falls short of the re-staining need other cells."""
    runs = study(make_run, {0: 40, 8: 60}, 0)
    runs[-1] = make_run([1] * 42 + [0] * 58, TRUTH, images="cyclegan", snapshot="epoch-0020")
    runs.insert(2, make_run(right(62), TRUTH, labels_used=16))
    (found,) = labels_saved(runs, draw_scores(runs, None, 0))
    assert found.labels == pytest.approx(8 * 0.9)
    assert found.interval[0] is not None
    assert found.interval[1] is None


def test_two_points_make_no_curve(make_run: MakeRun) -> None:
    runs = study(make_run, {0: 40, 92: 60}, 50)
    assert labels_saved(runs, draw_scores(runs, None, 0)) == ()
