import csv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hemabridge.errors import InputError
from hemabridge.evaluation.predictions import Predictions, read_predictions, write_predictions

CLASSES = ("blast", 'odd, "quoted"\nname', "monocyte")


def make(n: int = 5, seed: int = 0, **changes: Any) -> Predictions:
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "site": "foreign",
        "part": "test",
        "classifier": "resnet18",
        "images": "original",
        "snapshot": None,
        "labels_used": 0,
        "ids": tuple(f"a/{index}, b.png" for index in range(n)),
        "truth": rng.integers(0, 3, n),
        "probabilities": rng.dirichlet([1.0, 1.0, 1.0], n).astype(np.float32),
    }
    return Predictions(**{**fields, **changes})


def assert_equal(a: Predictions, b: Predictions) -> None:
    assert a.run == b.run
    assert a.ids == b.ids
    assert np.array_equal(a.truth, b.truth)
    assert a.probabilities.dtype == b.probabilities.dtype == np.float32
    assert np.array_equal(a.probabilities, b.probabilities)


def test_predictions_survive_the_csv_bit_by_bit(tmp_path: Path) -> None:
    runs = [make(), make(seed=1, images="cyclegan", snapshot="010"), make(n=2, seed=2, labels_used=92)]
    path = tmp_path / "predictions.csv"
    write_predictions(runs, CLASSES, path)
    back, classes = read_predictions(path)
    assert classes == CLASSES
    assert len(back) == len(runs)
    for before, after in zip(runs, back, strict=True):
        assert_equal(before, after)


def test_no_cell_can_be_taken_for_a_formula_and_all_come_back(tmp_path: Path) -> None:
    ids = ("=cmd|'/c calc'!A1.png", "-1.png", "@x.png", "'quoted'.png", "\tb.png", "a=1.png")
    run = make(n=6, ids=ids, classifier="+v2", site="=site", images="@m", snapshot="-s")
    path = tmp_path / "predictions.csv"
    write_predictions([run], ("=a", "-b", "c"), path)
    with path.open(newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert sorted(cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))) == []
    (back,), classes = read_predictions(path)
    assert classes == ("=a", "-b", "c")
    assert_equal(run, back)


def test_the_csv_has_one_line_per_cell_and_class(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    probabilities = np.array([[0.5, 0.25, 0.25]], dtype=np.float32)
    run = make(n=1, ids=("x.png",), truth=np.array([2]), probabilities=probabilities)
    write_predictions([run], ("a", "b", "c"), path)
    assert path.read_text().splitlines() == [
        "site,part,classifier,images,snapshot,labels_used,id,truth,class,probability",
        "foreign,test,resnet18,original,,0,x.png,c,a,0.5",
        "foreign,test,resnet18,original,,0,x.png,c,b,0.25",
        "foreign,test,resnet18,original,,0,x.png,c,c,0.25",
    ]


def test_an_empty_study_survives_the_csv(tmp_path: Path) -> None:
    write_predictions([], CLASSES, tmp_path / "none.csv")
    assert read_predictions(tmp_path / "none.csv") == ((), ())


def test_predicted_is_the_most_probable_class_and_the_first_of_equals() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], dtype=np.float32)
    assert make(n=2, probabilities=probabilities).predicted.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": np.array([0, 1])}, "for 5 ids"),
        ({"probabilities": np.ones((4, 1), np.float32)}, "for 5 ids"),
        ({"ids": ("a", "a", "b", "c", "d")}, "1 repeated ids"),
        ({"truth": np.array([0, 1, 2, 3, 0])}, "of 3 classes"),
        ({"truth": np.array([0, 1, 2, -1, 0])}, "of 3 classes"),
        ({"probabilities": np.full((5, 3), 0.5, np.float32)}, "sum to 1"),
        ({"probabilities": np.full((5, 3), np.nan, np.float32)}, "sum to 1"),
        ({"probabilities": np.tile(np.array([-0.5, 1.0, 0.5], np.float32), (5, 1))}, "0 or more"),
        ({"snapshot": ""}, "empty text"),
    ],
)
def test_impossible_predictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_writing_refuses_another_number_of_classes_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 2 classes"):
        write_predictions([make()], ("a", "b"), tmp_path / "predictions.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "breakage", ["missing line", "shuffled classes", "unknown truth", "wrong sum", "no labels_used"]
)
def test_a_damaged_csv_is_refused_by_name(tmp_path: Path, breakage: str) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions([make()], ("a", "b", "c"), path)
    table = pl.read_csv(path)
    broken = {
        "missing line": table.head(-1),
        "shuffled classes": table[[0, 1, 2, 4, 3, 5, *range(6, 15)]],
        "unknown truth": table.with_columns(truth=pl.lit("z")),
        "wrong sum": table.with_columns(probability=pl.lit(0.9)),
        "no labels_used": table.drop("labels_used"),
    }[breakage]
    broken.write_csv(path)
    with pytest.raises(InputError, match=r"predictions\.csv"):
        read_predictions(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\0\0", b"a,b\n1,2\n"])
def test_a_file_that_is_no_such_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "predictions.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"predictions\.csv"):
        read_predictions(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        read_predictions(tmp_path / "nowhere.csv")
