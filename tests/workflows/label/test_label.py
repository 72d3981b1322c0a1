"""`hemabridge label` without the page: the choice, the labels, what learns from them, the numbers and the files."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.listing import list_images
from hemabridge.errors import InputError
from hemabridge.evaluation.label_results import LabelResults
from hemabridge.models import open_model
from hemabridge.report import labeling_story
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.adapt.apply import run
from hemabridge.workflows.export.export import export
from hemabridge.workflows.label import learned
from hemabridge.workflows.label.daily_run import remove_run
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
def labeled(finished: Path, new_hospital: Path, chosen: Path) -> tuple[Path, Labeled]:
    """The folder and the result after five of the six cells were labeled with a class, and one as unknown."""
    table = chosen / "cells-to-label.csv"
    given = {row["path"]: class_of(row["path"]) for row in rows_of(table)}
    strange = list(given)[2]
    write_labels(given | {strange: "unknown"}, chosen.parent / "expert.csv")
    done = label(finished, new_hospital, chosen, k=6, labels=chosen.parent / "expert.csv", fabric=start_fabric("cpu"))
    return chosen, done


@pytest.mark.slow
def test_cells_are_chosen_without_labels_in_every_subdomain_and_predicted_class(
    chosen: Path, new_hospital: Path
) -> None:
    rows = rows_of(chosen / "cells-to-label.csv")
    names = set(list_images(new_hospital).images)
    assert len({row["path"] for row in rows}) == 6
    assert {row["path"] for row in rows} <= names
    assert {row["class"] for row in rows} == {""}
    assert [path.name for path in chosen.iterdir() if not path.name.startswith(".")] == ["cells-to-label.csv"]


@pytest.mark.slow
def test_labels_correct_and_the_numbers_say_what_changed(labeled: tuple[Path, Labeled]) -> None:
    out, done = labeled
    assert done.results == LabelResults.read(out / "label.json")
    results = done.results
    assert results is not None
    assert [cell.is_used for cell in results.cells].count(False) == 1
    (strange,) = (cell for cell in results.cells if not cell.is_used)
    assert (strange.label, strange.held_out) == ("unknown", None)
    assert all(cell.held_out in results.classes for cell in results.used_cells)
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


@pytest.mark.slow
def test_labels_are_used_exactly_if_they_do_no_harm(labeled: tuple[Path, Labeled]) -> None:
    out, done = labeled
    results = done.results
    assert results is not None
    before, held_out = results.right
    assert results.used == (held_out >= before)
    if not results.used:
        assert (results.before, results.changed, results.classifier) == (results.after, 0, None)
    kept = results.classifier is not None and results.classifier.is_kept
    assert (out / "classifier.safetensors").is_file() == kept


@pytest.mark.slow
def test_the_same_call_trains_nothing_again(
    finished: Path, new_hospital: Path, labeled: tuple[Path, Labeled], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, done = labeled

    def trains(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("hemabridge.workflows.label.learned.distill", trains)
    monkeypatch.setattr("hemabridge.workflows.evaluate.finished_study.fit_ensemble", trains)
    labels = out.parent / "expert.csv"
    again = label(finished, new_hospital, out, k=6, labels=labels, fabric=start_fabric("cpu"))
    assert again == done


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0.005, 0.02])
def test_a_classifier_that_costs_more_than_a_point_at_home_is_not_kept(
    finished: Path,
    new_hospital: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: float,
) -> None:
    write_labels({path: class_of(path) for path in list_images(new_hospital).images}, tmp_path / "expert.csv")
    home = iter([0.9, 0.9 - lost])
    monkeypatch.setattr(learned, "balanced_accuracy", lambda *_: next(home))
    out, labels = tmp_path / "out", tmp_path / "expert.csv"
    done = label(finished, new_hospital, out, k=6, labels=labels, fabric=start_fabric("cpu"))
    results = done.results
    assert results is not None
    assert results.classifier is not None
    assert (results.used, results.classifier.is_kept) == (True, lost < 0.01)
    assert done.daily == (out / "classifier.safetensors" if lost < 0.01 else None)
    assert (out / "classifier.safetensors").is_file() == (lost < 0.01)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert ("was not kept" in report) == (lost > 0.01)
    assert "<script" not in report
    if lost < 0.01:
        assert set(open_model(out / "classifier.safetensors").classes) == set(CLASSES)


def test_a_run_of_adapt_learns_labels_and_is_run_again(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, adapted = adapted_run
    monkeypatch.setattr(learned, "MOST_LOST_AT_HOME", 1.0)
    out, fabric = tmp_path / "out", start_fabric("cpu")
    assert label(folder, unlabeled, out, k=4, fabric=fabric).chosen == 4
    rows = rows_of(out / "cells-to-label.csv")
    names = [path.name for path in sorted(unlabeled.iterdir()) if path.name != "damaged.png"]
    assert {row["path"] for row in rows} < set(names)
    write_labels({name: next(each for each in CLASSES if each[0] == name[0]) for name in names}, tmp_path / "all.csv")
    done = label(folder, unlabeled, out, k=4, labels=tmp_path / "all.csv", fabric=fabric)
    assert done.daily == out / "run"
    found = Adapted.of_folder(out / "run")
    assert (found.classes, found.source_labels, adapted.source_labels) == (adapted.classes, len(names), 0)
    assert f"{len(names)} of them with labels of an expert" in " ".join(found.lines())
    today = run(out / "run", unlabeled, tmp_path / "today")
    assert sum(row.probabilities is not None for row in today.classified.rows) == len(names)
    before = open_model(adapted.file(folder, adapted.classifier)).sha256
    assert open_model(out / "run" / "classifier.safetensors").sha256 != before
    written = export(out / "run", tmp_path / "labeled.hemabridge")
    assert written.agreement.images == len(list((out / "run" / "examples").iterdir())) == len(names)
    remove_run(out / "run")
    assert not (out / "run").exists()


@pytest.mark.slow
def test_the_fit_of_the_run_is_not_done_again_for_the_same_cells(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = adapted_run
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    file = moved / "learned-from.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(described | {"fitted_to": ""}), encoding="utf-8")
    label(moved, unlabeled, tmp_path / "fitted", k=4, fabric=start_fabric("cpu"))

    def fits(*_: object, **__: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr("hemabridge.workflows.label.finished_run.fit_ensemble", fits)
    label(folder, unlabeled, tmp_path / "kept", k=4, fabric=start_fabric("cpu"))
    one, other = (np.load(tmp_path / name / ".predicted" / "probabilities.npy") for name in ("fitted", "kept"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_run_whose_labeled_images_are_gone_says_where_they_were(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(adapted_run[0], tmp_path / "moved"))
    file = moved / "learned-from.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    described["own"]["root"] = str(tmp_path / "gone")
    file.write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(InputError, match="put them back"):
        label(moved, unlabeled, tmp_path / "out", fabric=start_fabric("cpu"))
    file.unlink()
    with pytest.raises(InputError, match="trains nothing twice"):
        label(moved, unlabeled, tmp_path / "out", fabric=start_fabric("cpu"))


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_the_next_labels_add_is_the_corrected_share_of_the_errors_that_are_left(
    labeled: tuple[Path, Labeled],
) -> None:
    results = labeled[1].results
    assert results is not None
    cell = replace(results.used_cells[0], label="neutrophil", before="lymphocyte")
    cells = tuple(replace(cell, held_out=said) for said in ("neutrophil", "lymphocyte"))
    after = replace(results.after, confidence=0.9, counts={"lymphocyte": 10, "neutrophil": 10})
    told = replace(results, cells=cells, after=after, used=True)
    assert told.corrected == 0.5
    assert told.next_gain == pytest.approx(0.05)
    assert "about 5.0 points" in labeling_story.following(told)
    assert "0 were predicted right without labels, and 1 from the labels" in labeling_story.headline(told)
    assert json.loads(told.to_json())["kind"] == "label"
    helpless = replace(told, cells=(replace(cell, held_out="lymphocyte"),) * 2)
    assert helpless.next_gain is None
    assert "what they add elsewhere is not known" in labeling_story.headline(helpless)
    assert "cannot be estimated" in labeling_story.following(helpless)


def test_what_is_done_before_the_page_is_told(finished: Path, new_hospital: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    label(
        finished, new_hospital, tmp_path / "out", fabric=start_fabric("cpu"), progress=lambda *each: told.append(each)
    )
    (first,) = [what for what, _, total in told if not total and "address of the page" in what]
    assert "the classes of the 24 cells" in first
    assert ("comparing the cells, classifiers", 2, 2) in told
