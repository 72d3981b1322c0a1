"""The leaderboard of a study, and everything that a recipe can add to it."""

import csv
import json
import shutil
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from jsonschema import Draft202012Validator
from run_study import Call

from hemabridge.data.manifest import Manifest, read_manifest, write_manifest
from hemabridge.errors import RecipeError
from hemabridge.evaluation.results import StudyResults
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.two_sites import with_manifests
from hemabridge.storage.stages import DONE
from hemabridge.training.run_context import start_fabric
from hemabridge.translators.presets import Preset
from hemabridge.workflows.study import translation as study_translation
from hemabridge.workflows.study.study import study

CYCLE = "cyclegan"
LEAN = ("source_fine_tuning=false", "normalizers=[]", "tested_epochs=[2]", "audit=false")
"""Changes that leave of a study its classifiers, the translator and one snapshot."""


def recipe_of(path: Path, *changes: str) -> StudyRecipe:
    return expect_kind(read_recipe(path, changes), StudyRecipe)


def run(path: Path, out: Path, *changes: str) -> tuple[StudyResults, set[str]]:
    """Run a study; return also what it trained, by what it told of its progress."""
    calls: list[Call] = []
    results = study(
        recipe_of(path, *changes), out, fabric=start_fabric("cpu"), progress=lambda *call: calls.append(call)
    )
    return results, {label.removesuffix(": training") for label, _, _ in calls if label.endswith(": training")}


@pytest.fixture
def finished(finished_study: tuple[Path, StudyResults, list[Call]]) -> tuple[Path, StudyResults]:
    return finished_study[:2]


def test_the_leaderboard_has_a_line_for_every_row_of_the_source(
    finished: tuple[Path, StudyResults],
) -> None:
    out, results = finished
    rows = [r for r in results.rows if r.site == "yellow-field"]
    assert [(s.classifier, s.images, s.snapshot, s.labels_used) for s in results.leaderboard] == [
        (r.classifier, r.images, r.snapshot, r.labels_used) for r in rows
    ]
    assert {s.unit for s in results.leaderboard} == {"cell"}
    assert [s.against is None for s in results.leaderboard] == [
        (r.images, r.labels_used) == ("original", 0) for r in rows
    ]
    with (out / "tables" / "leaderboard.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert (out / "tables" / "leaderboard.tex").read_text().count("Small net") == 7
    assert [(c.classifier, c.first, c.second) for c in results.contrasts] == [
        (name, "epoch-0001", "epoch-0002") for name in ("Small net", "Given (external)", "Small net")
    ]


def test_the_images_of_both_sites_are_audited_once(finished: tuple[Path, StudyResults]) -> None:
    out, results = finished
    written = json.loads((out / "audit" / "audit.json").read_text())
    assert written["n_images"] == 48
    assert [(found.severity, found.text) for found in results.audit] == [
        (found["severity"], found["text"]) for found in written["findings"]
    ]
    assert results.audit


@pytest.mark.slow
def test_more_translators_are_compared_under_the_names_of_their_presets(
    small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = (*LEAN, "translators=['film']")
    quick = Preset("a quick one", recipe_of(small_study).translator)
    monkeypatch.setattr(study_translation, "PRESETS", {"film": quick})
    results, trained = run(small_study, tmp_path, *changes)
    assert trained == {"Small net", "translator", "translators film"}
    rows = [row for row in results.rows if row.site == "yellow-field" and row.classifier == "Small net"]
    assert [(row.images, row.snapshot, row.mode) for row in rows] == [
        ("original", None, "none"),
        ("film", None, "strict"),
        (CYCLE, "epoch-0002", "strict"),
    ]
    checked = {(check.images, check.snapshot): check for check in results.guard}
    assert checked.keys() == {("film", None), (CYCLE, "epoch-0002")}
    assert run(small_study, tmp_path, *changes)[1] == set()


@pytest.mark.parametrize("names", ["['film', 'film']", "['reinhard-image']", "['distillation']"])
def test_what_is_no_translator_to_compare_is_refused(small_study: Path, names: str) -> None:
    with pytest.raises(RecipeError, match="expected different presets out of film, pixel"):
        recipe_of(small_study, f"translators={names}")


WIDE = (
    "classes=['neutrophil', 'lymphocyte']",
    "tested_epochs=[2]",
    "normalizers=[]",
    "target_parts={train = 0.5, validation = 0.25, test = 0.25}",
    "source_fine_tuning.k_labels=[2, 4]",
    "source_fine_tuning.frozen_batch_norm=true",
    "adabn=true",
    "more_seeds=[5]",
    "audit=false",
)
"""Everything that a study can add to its leaderboard, on as little training as possible."""


@pytest.mark.slow
def test_fewer_labels_adabn_and_more_seeds_join_the_leaderboard(small_study: Path, tmp_path: Path) -> None:
    results, trained = run(small_study, tmp_path / "out", *WIDE)
    board = {(s.classifier, s.images, s.labels_used): s for s in results.leaderboard}
    variants = ("Small net, AdaBN", "Given (external), AdaBN")
    assert set(board) == {
        *((name, images, 0) for name in ("Small net", "Given (external)", *variants) for images in ("original", CYCLE)),
        *(("Small net", images, k) for images in ("original", CYCLE) for k in (2, 4, 12)),
    }
    assert [board[name, "original", 0].variant_of for name in variants] == ["Small net", "Given (external)"]
    modes = {(r.classifier, r.images, r.labels_used): r.mode for r in results.rows if r.site == "yellow-field"}
    assert modes[variants[0], "original", 0] == "strict"  # it was measured on unlabeled cells that are not scored
    assert modes["Small net", "original", 0] == "none"
    # A seed trains everything again, on the same cells.
    assert trained >= {"Small net", "translator", "Small net again on original with 2 labels"}
    spread = board["Small net", CYCLE, 4].spread
    assert spread is not None
    assert spread.seeds == (0, 5)
    assert (tmp_path / "out" / "seeds" / "5" / "translator" / DONE).is_file()
    assert not (tmp_path / "out" / "seeds" / "5" / "split").exists()
    # Labels saved, and a temperature from the validation part.
    assert [(w.classifier, w.snapshot, [k for k, _ in w.curve]) for w in results.labels_saved] == [
        ("Small net", "epoch-0002", [0, 2, 4, 12])
    ]
    assert board["Small net", "original", 0].calibration.temperature is not None
    assert board["Small net", "original", 2].calibration.temperature is None
    parts = {line.split(",")[1] for line in (tmp_path / "out" / "predictions.csv").read_text().splitlines()[1:]}
    assert parts == {"test", "validation"}
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    written = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(written)] == []
    assert StudyResults.read(tmp_path / "out" / "results.json") == results
    assert run(small_study, tmp_path / "out", *WIDE)[1] == set()


def test_labels_that_cannot_be_drawn_are_refused_before_any_training(small_study: Path, tmp_path: Path) -> None:
    calls: list[Call] = []
    with pytest.raises(RecipeError, match=r"k_labels of 2 .* to 12 .*, got \[13\]"):
        study(
            recipe_of(small_study, "source_fine_tuning.k_labels=[4, 13]"),
            tmp_path / "out",
            fabric=start_fabric("cpu"),
            progress=lambda *call: calls.append(call),
        )
    assert not [label for label, _, _ in calls if label.endswith(": training")]


@pytest.mark.slow
def test_patients_are_drawn_whole_where_all_are_known(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    copies = Path(shutil.copytree(hospitals / "yellow-field", tmp_path / "patients"))
    manifest = read_manifest(copies / "manifest.csv")
    patients = [f"p{place % 6}" for place in range(len(manifest))]
    write_manifest(
        Manifest(manifest.table.with_columns(pl.Series("patient", patients)), manifest.root), copies / "manifest.csv"
    )
    recipe = with_manifests(recipe_of(small_study, *LEAN), source=copies / "manifest.csv")
    results = study(recipe, tmp_path / "out", fabric=start_fabric("cpu"))
    assert {(s.unit, s.units) for s in results.leaderboard} == {("patient", 3)}
