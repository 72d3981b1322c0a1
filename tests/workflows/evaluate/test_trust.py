import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluated_study import predicted, written

from hemabridge.data.manifest import Manifest
from hemabridge.domain.site_profile import Distance
from hemabridge.evaluation.results import StudyResults
from hemabridge.guard.thresholds import floors
from hemabridge.guard.verdict import Verdicts
from hemabridge.models.guard_file import Guard
from hemabridge.models.site_answer import SiteAnswer
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.adapt.apply import COLUMNS as RUN_COLUMNS
from hemabridge.workflows.classify.classify import WITHHELD
from hemabridge.workflows.evaluate import evaluate as evaluating
from hemabridge.workflows.evaluate import trust
from hemabridge.workflows.evaluate.answers import Answers
from hemabridge.workflows.evaluate.evaluate import evaluate
from hemabridge.workflows.evaluate.predicted_table import COLUMNS
from hemabridge.workflows.evaluate.trust import Trust


@pytest.mark.parametrize("fit", [False, True])
def test_rows_that_must_not_be_trusted_have_no_class_and_a_reason(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fit: bool,
    drawn_field: Path,
) -> None:
    far = SiteAnswer(60, Distance(9.0, 1.0, 2.0), Distance(9.0, 1.0, 2.0))
    monkeypatch.setattr(evaluating, "write_answer", lambda *_: far)
    monkeypatch.setattr(evaluating, "open_model", lambda path: path)  # too few images for a profile
    folder = tmp_path / "night"
    folder.mkdir()
    for number, path in enumerate(source.paths()):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    shutil.copy(drawn_field, folder / "field.png")
    done = evaluate(finished[0], folder, tmp_path / "out", fit=fit)
    table = predicted(tmp_path / "out")
    assert (done.predicted, done.withheld, list(done.failed)) == (0, len(source), ["field.png"])
    assert set(table["predicted_class"]) == {""}
    assert table["probability"].null_count() == len(table)
    assert set(table["site"]) == {"out-of-distribution"}
    reasons = dict(table.select("path", "reason").iter_rows())
    assert "whole field" in reasons.pop("field.png")
    assert set(reasons.values()) == {WITHHELD}


def test_cells_that_the_guard_refuses_have_no_class_and_those_in_doubt_a_remark(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished[0], folder)
    model = sha256_of(folder / "restained" / "white-point" / "normalizer.json")
    (folder / "guard" / "white-point").mkdir(parents=True)
    Guard(model=model, thresholds=floors()).write(folder / "guard" / "white-point" / "guard.json")
    given = Verdicts(("pass", "warn", "refuse"), ((), ("darkness",), ("nucleus_dice", "shift")), np.zeros(3))
    monkeypatch.setattr(trust, "verdicts_of", lambda *_: given)
    cells = written(Manifest(source.table.head(3), source.root), tmp_path / "cells.csv")
    done = evaluate(folder, cells, tmp_path / "out", root=source.root, by="Learner on white-point")
    table = predicted(tmp_path / "out")
    assert (done.predicted, done.withheld) == (2, 1)
    assert table["guard"].to_list() == ["pass", "warn", "refuse"]
    assert [bool(name) for name in table["predicted_class"]] == [True, True, False]
    assert table["remark"].to_list() == ["", "the guard warns: darkness", ""]
    reason = "not predicted: the guard refuses the re-stained cell (nucleus_dice shift)"
    assert table["reason"].to_list() == ["", "", reason]
    evaluate(folder, cells, tmp_path / "out", root=source.root, by="ensemble")
    assert set(predicted(tmp_path / "out")["guard"].cast(pl.String)) == {""}  # no guard checked what it pools


@pytest.mark.parametrize(
    ("images", "source_distance", "target_distance", "site", "withheld"),
    [
        ("white-point", 0.5, 9.0, "in-distribution", ""),
        ("white-point", 1.5, 0.5, "borderline", ""),
        ("white-point", 9.0, 0.5, "out-of-distribution", "need no re-staining"),
        ("ensemble", 9.0, 1.5, "out-of-distribution", "out-of-distribution"),
        ("original", 9.0, 0.5, "in-distribution", ""),
        ("original", 9.0, 1.5, "borderline", ""),
        ("original", 9.0, 9.0, "out-of-distribution", "out-of-distribution"),
        ("original", 9.0, None, "out-of-distribution", "out-of-distribution"),
    ],
)
def test_what_predicts_says_for_which_site_it_is_meant(
    images: str, source_distance: float, target_distance: float | None, site: str, withheld: str
) -> None:
    of_target = None if target_distance is None else Distance(target_distance, 1.0, 2.0)
    answer = SiteAnswer(60, Distance(source_distance, 1.0, 2.0), of_target)
    found = Trust.of(answer, Answers("Learner", images, None, 0, np.zeros((1, 2), np.float32)), None)
    assert found.site == site
    assert withheld in found.reason(0)
    assert bool(withheld) == bool(found.reason(0))


def test_tables_of_evaluate_and_run_share_their_words() -> None:
    assert set(COLUMNS) - {"class", "by"} == set(RUN_COLUMNS) - {"uncertainty"}
