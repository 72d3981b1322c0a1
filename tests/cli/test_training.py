import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hemabridge.cli.printing import print_selection
from hemabridge.cli.training import _print_study
from hemabridge.evaluation.results import Row, StudyResults
from hemabridge.imaging.files import read_image
from hemabridge.models.selection_file import Selection, SnapshotRow
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe

TRANSLATOR = """
kind = "translator"
name = "small"
source = {{ site = "yellow-field", manifest = "{hospitals}/yellow-field/manifest.csv" }}
target = {{ site = "clinic-like", manifest = "{hospitals}/clinic-like/manifest.csv" }}
[translator]
load_px = 36
crop_px = 32
epoch_images = 4
constant_epochs = 1
decay_epochs = 0
model = {{ generator = {{ channels = 4, blocks = 1 }}, discriminator = {{ channels = 4, layers = 1 }} }}
"""


@pytest.fixture
def recipe(hospitals: Path, tmp_path: Path) -> Path:
    path = tmp_path / "translator.toml"
    path.write_text(TRANSLATOR.format(hospitals=hospitals))
    return path


def test_train_then_standardize(run: Callable, recipe: Path, hospitals: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    ended = run("train", recipe, "--out", model, "--device", "cpu", "--set", "translator.epoch_images=3")
    assert ended.code == 0
    assert ended.out == f"1 snapshot in {model / 'snapshots'}; the last one is epoch-0001.\n"
    assert "training: 3 of 3" in ended.err
    assert "epoch_images = 3" in (model / "recipe.toml").read_text()

    ended = run("standardize", model, hospitals / "yellow-field", out, "--crop-px", 32)
    assert ended.code == 0
    assert ended.out.startswith("25 files: 24 re-stained, 0 failed, 1 left out.")
    for path in (hospitals / "yellow-field").rglob("*.png"):
        name = path.relative_to(hospitals / "yellow-field")
        assert read_image(out / name).shape == read_image(path).shape


def test_run_folders_are_named_by_the_recipe(
    run: Callable, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("train", recipe, "--device", "cpu").code == 0
    assert (tmp_path / "runs" / "small" / "snapshots" / "epoch-0001.safetensors").is_file()


def test_a_file_that_failed_is_told_and_the_exit_code_is_1(run: Callable, small_snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / "a.png")
    (folder / "b.png").write_text("no image")
    ended = run("standardize", small_snapshot, folder, tmp_path / "out")
    assert ended.code == 1
    assert "failed: b.png: " in ended.err
    assert ended.out.startswith("2 files: 1 re-stained, 1 failed, 0 left out.")
    assert (tmp_path / "out" / "a.png").is_file()


def test_standardize_takes_a_snapshot_by_its_name(run: Callable, small_snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    model = small_snapshot.parents[2]
    assert run("standardize", model, tmp_path / "in", tmp_path / "out", "--snapshot", "epoch-0001").code == 0
    ended = run("standardize", model, tmp_path / "in", tmp_path / "out", "--snapshot", "epoch-0009")
    assert ended.code == 2
    assert "expected one of the snapshots epoch-0001, got 'epoch-0009'" in ended.err


@pytest.mark.slow
def test_select_then_standardize_takes_the_choice(
    run: Callable, recipe: Path, hospitals: Path, tmp_path: Path, reads: Any
) -> None:
    model = tmp_path / "model"
    assert run("train", recipe, "--out", model, "--device", "cpu").code == 0
    with reads("select, command line"):
        ended = run("select", model, "--most-refused", "1", "--least-kept", "-1", "--most-tinted", "1")
    assert (ended.code, "Traceback" in ended.err) == (0, False)
    assert "epoch-0001 *" in ended.out
    assert "epoch-0001 is the best of all 1 snapshots" in ended.out.replace("\n", " ")
    assert f"See {model / 'selection.png'}." in ended.out
    assert "hemabridge study" not in ended.out
    with reads("standardize, command line"):
        ended = run("standardize", model, hospitals / "yellow-field", tmp_path / "out")
    for command in ("select", "standardize"):
        reads.check_once(f"{command}, command line", *(model / "snapshots").iterdir())
    assert ended.out.startswith(f"Re-staining with epoch-0001, the selected snapshot: see {model / 'selection.json'}.")
    named = run("standardize", model, hospitals / "yellow-field", tmp_path / "out", "--snapshot", "epoch-0001")
    assert "selected" not in named.out

    (model / "report.html").touch()  # as a study leaves one
    ended = run("select", model, "--least-kept", "1")
    assert ended.code == 1
    assert "run the same `hemabridge study RECIPE` again" in " ".join(ended.out.split())
    assert "None can be used" in ended.out
    ended = run("standardize", model, hospitals / "yellow-field", tmp_path / "out")
    assert (ended.code, ended.out) == (2, "")
    assert "give its name by --snapshot" in ended.err


@pytest.mark.slow
def test_a_study_of_the_recipes_sites(run: Callable, small_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    changes = ["--set", "source_fine_tuning=false", "--set", "tested_epochs=[2]", "--set", "normalizers=[]"]
    changes += ["--set", "guard=false"]  # which would refuse what two epochs make
    ended = run("study", small_study, "--out", out, "--device", "cpu", *changes)
    assert ended.code == 0
    assert f"The report is {out / 'report.html'}" in ended.out
    assert "Small net: training" in ended.err
    rows = StudyResults.read(out / "results.json").rows
    assert [row.snapshot for row in rows] == [None, None, "epoch-0002"] * 2
    assert f"{rows[0].balanced_accuracy:.3f}" in ended.out

    source = expect_kind(read_recipe(out / "recipe.toml"), StudyRecipe).source.manifest
    assert source is not None
    ended = run("evaluate", out, source, tmp_path / "predicted")
    assert ended.code == 0
    assert (
        "24 cells scored; the study was fitted on some of them, so that scores may be too high (transductive)."
        in ended.out
    )
    table = tmp_path / "predicted" / "predicted-classes.csv"
    assert f"24 files classified by Small net on epoch-0002, 0 unknown, 0 failed, 0 withheld. See {table}." in ended.out
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "cell.png").write_bytes(next(source.parent.rglob("*.png")).read_bytes())
    (tmp_path / "night" / "bad.png").write_bytes(b"bad")
    ended = run("evaluate", out, tmp_path / "night", tmp_path / "predicted")
    assert ended.code == 1
    assert "failed: bad.png: " in ended.err
    assert "1 files classified by Small net on epoch-0002, 0 unknown, 1 failed, 0 withheld." in ended.out
    ended = run("evaluate", out, source, tmp_path / "predicted", "--fit")
    assert ended.code == 2
    assert "expected a study with an ensemble" in ended.err


@pytest.mark.slow
def test_a_study_of_any_two_manifests(run: Callable, small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    """As on the command line: index two folders, study them with the recipe of others."""
    for name in ("ours", "theirs"):
        original = {"ours": "truth", "theirs": "yellow-field"}[name]
        folder = Path(shutil.copytree(hospitals / original, tmp_path / name))
        (folder / "manifest.csv").unlink()
        assert run("index", folder, "--site", name, "--crop-px", 32, "--out", tmp_path / f"{name}.csv").code == 0
    sites = ["--source", tmp_path / "theirs.csv", "--source-root", tmp_path / "theirs"]
    sites += ["--target", tmp_path / "ours.csv", "--target-root", tmp_path / "ours"]
    out = tmp_path / "out"
    changes = ["--set", "source_fine_tuning=false", "--set", "tested_epochs=[2]", "--set", "normalizers=[]"]
    ended = run("study", small_study, *sites, "--out", out, "--device", "cpu", *changes)
    assert (ended.code, "Traceback" in ended.err) == (0, False)
    results = StudyResults.read(out / "results.json")
    assert [(row.site, row.images, row.mode) for row in results.rows[:3]] == [
        ("ours", "original", "none"),
        ("theirs", "original", "none"),
        ("theirs", "cyclegan", "strict"),
    ]
    assert results.closeness == ()  # the recipe's truth is of other cells
    assert results.facts["source crop"] == "32 px"
    assert set(json.loads((out / "results.json").read_text())["rows"][0]) >= {
        *("site", "part", "classifier", "images", "snapshot", "labels_used", "n", "accuracy", "balanced_accuracy"),
        *("recall", "interval", "mode", "seed"),
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["study", "nowhere.toml"], "expected a recipe, got nothing: nowhere.toml"),
        (
            ["select", "nowhere"],
            "expected the folder of a study or of a translator's training, with recipe.toml, got none",
        ),
        (["train", "nowhere.toml"], "expected a recipe, got nothing: nowhere.toml"),
        (
            ["standardize", "nowhere", "in", "out"],
            "expected a model's file or a run folder with snapshots, got none at nowhere",
        ),
        (["study", "{study}", "--set", "sede=1"], "unknown key sede; did you mean 'seed'?"),
        (["study", "{study}", "--source", "nowhere.csv"], "at nowhere.csv, got no such file"),
        (["study", "{study}", "--source-root", "."], "got a root alone"),
        (["train", "{study}"], "got a study: run `hemabridge study"),
        (["study", "{translator}"], "expected a recipe of another kind, got kind = 'translator'"),
        (["train", "{translator}", "--set", "source.manifest=no.csv"], "no.csv, got no such file"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_message(
    run: Callable,
    small_study: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(study=small_study, translator=recipe) for argument in arguments]
    ended = run(*filled)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("hemabridge: ")
    assert told in ended.err


def test_devices_are_those_that_exist(run: Callable, recipe: Path, tmp_path: Path) -> None:
    ended = run("train", recipe, "--out", tmp_path / "out", "--device", "abacus")
    assert ended.code == 2
    assert "abacus" in ended.err
    ended = run("train", recipe, "--out", tmp_path / "out", "--device", "mps")
    assert ended.code == 2
    assert ended.err.startswith("hemabridge: expected a device of this machine (cpu, cuda, mps, auto), got 'mps'")
    assert not (tmp_path / "out").exists()


def test_the_table_of_a_study_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("ResNet34 focal, AdaBN", "sliced-ot", "Hospital Universitari Germans Trias")
    row = Row(names[2], "test", names[0], names[1], None, 92, 149, 0.7, 0.65, {"a": 0.7}, (0.62, 0.77), "strict", 0)
    _print_study(StudyResults("paper", ("a",), (row,)), tmp_path)
    table = capsys.readouterr().out.split("The report is")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "0.700 [0.62, 0.77]" in table
    assert "0.650" in table
    assert "…" not in table


def test_the_table_of_a_study_breaks_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("MobileNetV3-large focal, AdaBN", "white-point", "ensemble, self-training 1", "epoch-0002")
    rows = tuple(
        Row(site, "test", names[0], images, None, labels, 149, 0.7, 0.65, {"a": 0.7}, (0.62, 0.77), "strict", 0)
        for site, labels in (("our clinic", 0), ("Hospital Universitari Germans Trias", 92))
        for images in names[1:]
    )
    _print_study(StudyResults("paper", ("a",), rows), tmp_path)
    told = capsys.readouterr().out
    for word in " ".join(names).split():
        assert told.split().count(word) >= (6 if word in names[0] else 2)
    assert "accuracy: our clinic" in " ".join(told.split())
    assert (told.count("labels"), told.count(" 92 ")) == (1, 3)


def snapshot_row(name: str, *, fit: bool = True, **known: float) -> SnapshotRow:
    near = (0.0, 1.0)
    return SnapshotRow(
        name, "", 1, 0.51, near, 0.5, {}, {}, -0.123, near, 0.81, 0.38, near, 0.92, near, fit=fit, won=0.66, **known
    )


def test_the_table_of_a_selection_shows_what_decides_and_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = (
        snapshot_row("epoch-0002", disagreement=0.17, readers=0.9),
        snapshot_row("epoch-0004", fit=False, disagreement=0.29),
    )
    original = snapshot_row("original")
    facts = {"cells of the source": 60}
    print_selection(Selection("study", "epoch-0002", (), "Because.", original, rows, (0.0, (-0.1, 0.1)), facts))
    lines = capsys.readouterr().out.splitlines()
    below = next(place for place, line in enumerate(lines) if line.startswith("x: "))
    assert max(map(len, lines[:below])) <= 80
    assert "…" not in "".join(lines)
    table = [line.split() for line in lines if line.strip().startswith(("snapshot", "epoch-", "original"))]
    assert table == [
        ["snapshot", "agree", "readers", "stain", "refused", "kept", "KID", "AUC", "in"],
        ["original", "0.51", "38%", "0.92", "-0.123", "0.81"],
        ["epoch-0002", "*", "0.17", "0.90", "0.51", "38%", "0.92", "-0.123", "0.81", "66%"],
        ["epoch-0004", "x", "0.29", "0.51", "38%", "0.92", "-0.123", "0.81", "66%"],
    ]
    assert lines[below].startswith("x: do not use; the guard or readers refuse")

    tints = (replace(rows[0], tinted=0.12, readers=None), replace(rows[1], tinted=0.0))
    print_selection(Selection("study", "epoch-0002", (), "Because.", original, tints, (0.0, (-0.1, 0.1)), facts))
    lines = capsys.readouterr().out.splitlines()
    assert ["epoch-0002", "*", "0.17", "0.51", "38%", "0.92", "12%", "-0.123", "0.81", "66%"] in [
        line.split() for line in lines
    ]
    assert max(map(len, lines[:-2])) <= 80

    for row, shown in ((replace(rows[0], error=0.1), {"error", "readers"}), (snapshot_row("epoch-0001"), set())):
        print_selection(Selection("run", None, (), "Because.", original, (row,), (0.0, (-0.1, 0.1)), facts))
        told = capsys.readouterr().out
        assert {"error", "agree", "readers"} & set(told.split()) == shown
        assert "x: " not in told
