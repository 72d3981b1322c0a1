"""`hemabridge label` without the page: the choice, the labels, the fine-tuning, the numbers and the files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.listing import list_images
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.errors import InputError
from hemabridge.evaluation.label_results import LabelResults
from hemabridge.report import labeling_story
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.label import fine_tuning
from hemabridge.workflows.label.fine_tuning import folds_of
from hemabridge.workflows.label.label import Labeled, label
from hemabridge.workflows.label.label_files import read_labels, write_labels

CLASSES = ("lymphocyte", "neutrophil")


def class_of(path: str) -> str:
    return next(name for name in CLASSES if name in path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def chosen(finished: Path, new_hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after a call without labels."""
    out = tmp_path_factory.mktemp("chosen") / "out"
    done = label(finished, new_hospital, out, k=6, fabric=start_fabric("cpu"))
    assert (done.chosen, done.results, done.failed) == (6, None, {})
    return out


@pytest.fixture(scope="module")
def taught(finished: Path, new_hospital: Path, chosen: Path) -> tuple[Path, Labeled]:
    """The folder and the result after five of the six cells were labeled with a class, and one as unknown."""
    table = chosen / "cells-to-label.csv"
    given = {row["path"]: class_of(row["path"]) for row in rows_of(table)}
    strange = list(given)[2]
    write_labels(given | {strange: "unknown"}, chosen.parent / "expert.csv")
    done = label(
        finished, new_hospital, chosen, k=6, labels=chosen.parent / "expert.csv", folds=2, fabric=start_fabric("cpu")
    )
    return chosen, done


def test_cells_are_chosen_without_labels_in_every_subdomain_and_predicted_class(
    chosen: Path, new_hospital: Path
) -> None:
    rows = rows_of(chosen / "cells-to-label.csv")
    names = set(list_images(new_hospital).images)
    assert len({row["path"] for row in rows}) == 6
    assert {row["path"] for row in rows} <= names
    assert {row["class"] for row in rows} == {""}
    assert [path.name for path in chosen.iterdir() if not path.name.startswith(".")] == ["cells-to-label.csv"]


def test_labels_teach_and_the_numbers_say_what_changed(taught: tuple[Path, Labeled]) -> None:
    out, done = taught
    assert done.results == LabelResults.read(out / "label.json")
    results = done.results
    assert results is not None
    assert [cell.trained_on for cell in results.cells].count(False) == 1
    (strange,) = (cell for cell in results.cells if not cell.trained_on)
    assert (strange.label, strange.held_out) == ("unknown", None)
    assert results.folds == 2
    assert all(cell.held_out in results.classes for cell in results.trained_on)
    predicted = {row["path"]: row for row in rows_of(out / "predicted-classes.csv")}
    assert len(predicted) == 24 == sum(results.after.counts.values())
    for cell in results.cells:
        assert (predicted[cell.path]["before_labels"], predicted[cell.path]["predicted_class"]) == (
            cell.before,
            cell.after,
        )
    assert sum(row["before_labels"] != row["predicted_class"] for row in predicted.values()) == results.changed
    following = [cell.path for cell in results.following]
    assert [row["path"] for row in rows_of(out / "next-cells.csv")] == following
    assert len(following) == 6
    assert not {cell.path for cell in results.cells} & set(following)
    assert rows_of(out / "labels.csv") == [
        {"path": cell.path, "class": cell.label} for cell in sorted(results.cells, key=lambda c: order(out, c.path))
    ]


def order(out: Path, path: str) -> int:
    return [row["path"] for row in rows_of(out / "cells-to-label.csv")].index(path)


def test_labels_are_used_exactly_if_they_do_no_harm(taught: tuple[Path, Labeled]) -> None:
    out, done = taught
    results = done.results
    assert results is not None
    before, held_out, _ = results.right
    assert held_out is not None
    assert results.used == (held_out >= before and len(results.home) > 1)
    assert (out / "fine-tuning" / "ensemble.json").is_file() == results.used
    assert not list((out / "fine-tuning").glob("fold-*"))
    if not results.used:
        assert (results.before, results.changed) == (results.after, 0)


def test_the_same_call_trains_nothing_again(
    finished: Path, new_hospital: Path, taught: tuple[Path, Labeled], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, done = taught

    def trains(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("hemabridge.workflows.label.fine_tuning.fine_tuned_ensemble", trains)
    monkeypatch.setattr("hemabridge.workflows.evaluate.finished_study.fit_ensemble", trains)
    labels = out.parent / "expert.csv"
    again = label(finished, new_hospital, out, k=6, labels=labels, folds=2, fabric=start_fabric("cpu"))
    assert again == done


def test_a_round_that_costs_more_than_a_point_at_home_is_not_kept(
    finished: Path, new_hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: Path
) -> None:
    given = {row["path"]: class_of(row["path"]) for row in rows_of(chosen / "cells-to-label.csv")}
    write_labels(given, tmp_path / "expert.csv")
    home = iter([0.9, 0.895, 0.885])
    monkeypatch.setattr(fine_tuning, "home_accuracy", lambda *_: next(home))
    labels = tmp_path / "expert.csv"
    done = label(finished, new_hospital, tmp_path / "out", k=6, labels=labels, folds=0, fabric=start_fabric("cpu"))
    results = done.results
    assert results is not None
    assert (results.home, results.stopped, results.used) == ((0.9, 0.895), True, True)
    assert results.right[1] is None
    saved = FittedEnsemble.load(tmp_path / "out" / "fine-tuning", tmp_path / "out" / "fine-tuning", {})
    snapshots = [member.snapshot for member in (*saved.color_members, *saved.shape_members)]
    assert all(path is not None and "after/0" in path.as_posix() for path in snapshots)
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "stopped there" in report
    assert "<script" not in report


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("path,class\nmissing.png,neutrophil\n", "there is no such file"),
        ("path,class\n{0},unknown\n", "at least one label of the classes"),
        ("path,class\n{0},\n", "only empty cells"),
        ("path,class\n{0},neutrophil\n{0},lymphocyte\n", "one label for"),
        ("file;class\n{0};neutrophil\n", "expected the columns path, class, got file, class"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_before_anything_is_trained(
    finished: Path, new_hospital: Path, chosen: Path, tmp_path: Path, table: str, told: str
) -> None:
    first = rows_of(chosen / "cells-to-label.csv")[0]["path"]
    (tmp_path / "labels.csv").write_text(table.format(first), encoding="utf-8")
    with pytest.raises(InputError, match=told):
        label(finished, new_hospital, chosen, k=6, labels=tmp_path / "labels.csv", fabric=start_fabric("cpu"))


def test_labels_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    text = "sep=;\npath;class\na.png;Neutrophil \n'=b.png;erythroblast\nc.png;\n"
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-16"))
    assert read_labels(tmp_path / "labels.csv", CLASSES) == {"a.png": "neutrophil", "=b.png": "erythroblast"}
    (tmp_path / "twice.csv").write_text("path,class,class\na.png,neutrophil,lymphocyte\n")
    with pytest.raises(InputError, match="expected each column once, got class more than once"):
        read_labels(tmp_path / "twice.csv", CLASSES)


def test_folds_hold_each_label_once_and_classes_evenly() -> None:
    labels = np.array([0] * 8 + [1] * 4 + [-1] * 5)
    folds = folds_of(labels, 4, 0)
    np.testing.assert_array_equal(folds == -1, labels == -1)
    for fold in range(4):
        np.testing.assert_array_equal(np.bincount(labels[folds == fold]), [2, 1])


def test_what_the_next_labels_add_is_the_corrected_share_of_the_errors_that_are_left(
    taught: tuple[Path, Labeled],
) -> None:
    results = taught[1].results
    assert results is not None
    cell = replace(results.trained_on[0], label="neutrophil", before="lymphocyte")
    cells = tuple(replace(cell, held_out=said) for said in ("neutrophil", "lymphocyte"))
    after = replace(results.after, confidence=0.9, counts={"lymphocyte": 10, "neutrophil": 10})
    told = replace(results, cells=cells, after=after, used=True)
    assert told.corrected == 0.5
    assert told.next_gain == pytest.approx(0.05)
    assert "about 5.0 points" in labeling_story.following(told)
    assert "0 were predicted right without labels, and 1 by members" in labeling_story.headline(told)
    assert json.loads(told.to_json())["kind"] == "label"
