import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from statsmodels.stats.proportion import proportion_confint

from hemabridge.data.manifest import read_manifest, write_manifest
from hemabridge.errors import HemabridgeError, ManifestError, ModelError, RecipeError, RunError, SplitError
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.files import read_image
from hemabridge.models.study_folder import NORMALIZER
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.review import ReviewPlan
from hemabridge.recipes.two_sites import with_manifests
from hemabridge.storage.run_folder import hold_folder
from hemabridge.storage.stages import DONE
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import Snapshot
from hemabridge.training.tensorfile import read_header
from hemabridge.workflows.index import index
from hemabridge.workflows.review.read_arms import arms_of
from hemabridge.workflows.study.study import study
from hemabridge.workflows.study.translation import snapshots_of

Call = tuple[str, int, int]
GIVEN = (
    '{name = "Given", external = {file = "given.safetensors", architecture = "test_resnet", '
    'classes = ["lymphocyte", "blast", "neutrophil"], preprocessing = {size_px = 32}}}'
)
LEAN = ("source_fine_tuning=false", "normalizers=[]", f"classifiers=[{GIVEN}]", "tested_epochs=[2]", "guard=false")
"""Changes that leave of a study the translator, one snapshot and a classifier that is not trained."""


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a study."""


def recipe_of(path: Path, *changes: str) -> StudyRecipe:
    return expect_kind(read_recipe(path, changes), StudyRecipe)


def run(path: Path, out: Path, *changes: str) -> tuple[StudyResults, list[Call]]:
    """Run a study; return also what it told of its progress."""
    calls: list[Call] = []
    results = study(
        recipe_of(path, *changes), out, fabric=start_fabric("cpu"), progress=lambda *call: calls.append(call)
    )
    return results, calls


def trained(calls: list[Call]) -> set[str]:
    """Return what was trained, by what progress said."""
    return {label.removesuffix(": training") for label, _, _ in calls if label.endswith(": training")}


def state_of(out: Path) -> dict[str, tuple[int, str]]:
    """Return when each file below was written, and its hash; locks apart."""
    return {
        path.relative_to(out).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in out.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def without_times(results: StudyResults) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(results.to_json())
    data["facts"] = {key: value for key, value in data["facts"].items() if not key.startswith("seconds, ")}
    return data


@pytest.fixture
def finished(finished_study: tuple[Path, StudyResults, list[Call]]) -> tuple[Path, StudyResults, list[Call]]:
    return finished_study


@pytest.fixture
def copied(finished: tuple[Path, StudyResults, list[Call]], tmp_path: Path) -> Path:
    """The folder of the finished study, to be worked on."""
    return Path(shutil.copytree(finished[0], tmp_path / "out"))


def test_every_row_of_the_papers_table_is_there_once(finished: tuple[Path, StudyResults, list[Call]]) -> None:
    rows = [
        (r.classifier, r.site, r.images, r.snapshot, r.labels_used, r.n, r.mode, r.part, r.seed)
        for r in finished[1].rows
    ]
    epochs = ("epoch-0001", "epoch-0002")
    expected = []
    for name in ("Small net", "Given (external)"):
        expected.append((name, "clinic-like", "original", None, 0, 10, "none", "test", 0))
        expected.append((name, "yellow-field", "original", None, 0, 12, "none", "test", 0))
        expected.append((name, "yellow-field", "white-point", None, 0, 12, "strict", "test", 0))
        expected += [(name, "yellow-field", "cyclegan", epoch, 0, 12, "strict", "test", 0) for epoch in epochs]
    # Fine-tuned again on the source's 12 labeled training cells; what comes as a file is used as it came.
    expected.append(("Small net", "yellow-field", "original", None, 12, 12, "none", "test", 0))
    expected += [("Small net", "yellow-field", "cyclegan", epoch, 12, 12, "strict", "test", 0) for epoch in epochs]
    assert rows == expected


def test_results_json_keeps_the_published_schema_and_reads_back(
    finished: tuple[Path, StudyResults, list[Call]],
) -> None:
    out, results, _ = finished
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads((out / "results.json").read_text(encoding="utf-8")), schema)
    assert StudyResults.read(out / "results.json") == results
    assert results.classes == ("neutrophil", "lymphocyte")
    assert [(t.classifier, t.images, t.snapshot, t.labels_used) for t in results.paired] == [
        (r.classifier, r.images, r.snapshot, r.labels_used) for r in results.rows if r.images != "original"
    ]
    assert len(results.confusions) == len(results.rows)


def test_every_number_can_be_recounted_from_the_predictions(finished: tuple[Path, StudyResults, list[Call]]) -> None:
    out, results, _ = finished
    cells: dict[Any, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    truth = {}
    with (out / "predictions.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            key = (line["site"], line["classifier"], line["images"], line["snapshot"], line["labels_used"])
            cells[key][line["id"]][line["class"]] = float(line["probability"])
            truth[line["site"], line["id"]] = line["truth"]
    assert len(cells) == len(results.rows)
    for row in results.rows:
        said = cells[row.site, row.classifier, row.images, row.snapshot or "", str(row.labels_used)]
        right = [max(shares, key=shares.__getitem__) == truth[row.site, cell] for cell, shares in said.items()]
        assert (row.n, row.accuracy) == (len(right), pytest.approx(np.mean(right)))
        of_class = {
            name: [r for cell, r in zip(said, right, strict=True) if truth[row.site, cell] == name]
            for name in results.classes
        }
        assert row.recall == pytest.approx({name: float(np.mean(hits)) for name, hits in of_class.items()})
        assert row.balanced_accuracy == pytest.approx(np.mean([np.mean(hits) for hits in of_class.values()]))
        assert row.interval == pytest.approx(proportion_confint(sum(right), len(right), method="wilson"))


def test_the_truth_is_measured_against_the_same_cells(
    finished: tuple[Path, StudyResults, list[Call]], hospitals: Path
) -> None:
    out, results, _ = finished
    split = read_manifest(out / "split" / "yellow-field" / "manifest.csv", hospitals / "yellow-field")
    names = [path for path, part in zip(split.column("path"), split.column("split"), strict=True) if part == "test"]

    def mean_psnr(folder: Path) -> float:
        return float(
            np.mean(
                [peak_signal_noise_ratio(read_image(hospitals / "truth" / n), read_image(folder / n)) for n in names]
            )
        )

    assert [(c.images, c.snapshot, c.n) for c in results.closeness] == [
        ("original", None, 12),
        ("white-point", None, 12),
        ("cyclegan", "epoch-0001", 12),
        ("cyclegan", "epoch-0002", 12),
    ]
    assert results.closeness[0].psnr_db == pytest.approx(mean_psnr(hospitals / "yellow-field"))
    for close in results.closeness[1:]:
        restained = out / "restained" / (close.snapshot or close.images) / "to_target"
        assert close.psnr_db == pytest.approx(mean_psnr(restained))


def test_both_directions_are_written_under_the_names_of_the_originals(
    finished: tuple[Path, StudyResults, list[Call]],
) -> None:
    out = finished[0]
    for site, direction in (("yellow-field", "to_target"), ("clinic-like", "to_source")):
        with (out / "split" / site / "manifest.csv").open(newline="") as file:
            tests = {line["path"] for line in csv.DictReader(file) if line["split"] == "test"}
        for epoch in ("epoch-0001", "epoch-0002"):
            folder = out / "restained" / epoch / direction
            assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == tests


def test_the_translator_is_kept_from_every_scored_cell(
    finished: tuple[Path, StudyResults, list[Call]],
) -> None:
    out = finished[0]
    hashes = defaultdict(set)
    for site in ("yellow-field", "clinic-like"):
        with (out / "split" / site / "manifest.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                hashes[site, line["split"]].add(line["sha256"])
    seen = set(read_header(out / "translator" / "snapshots" / "epoch-0002.safetensors")["seen"])
    assert seen == hashes["yellow-field", "train"] | hashes["clinic-like", "train"]
    assert len(seen) == 26


def test_images_are_left_as_they_were(finished: tuple[Path, StudyResults, list[Call]], hospitals: Path) -> None:
    for site in ("clinic-like", "yellow-field", "truth"):
        manifest = read_manifest(hospitals / site / "manifest.csv")
        found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in manifest.paths()]
        assert found == manifest.column("sha256")


class References(HTMLParser):
    """Collects what a page asks a browser to fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_report_opens_offline(finished: tuple[Path, StudyResults, list[Call]]) -> None:
    html = (finished[0] / "report.html").read_text(encoding="utf-8")
    page = References()
    page.feed(html)
    assert len(page.found) > 10
    assert [found[:40] for found in page.found if not found.startswith(("data:", "#"))] == []
    assert "url(http" not in html
    assert "@import" not in html
    for name in ("Small net", "Given (external)", "epoch-0001", "epoch-0002", "yellow-field", "clinic-like"):
        assert name in html


def test_figure_4_is_a_picture(finished: tuple[Path, StudyResults, list[Call]]) -> None:
    picture = read_image(finished[0] / "figure-4.png")
    assert min(picture.shape[:2]) > 5 * 32


def test_the_run_folder_says_what_was_run(finished: tuple[Path, StudyResults, list[Call]], small_study: Path) -> None:
    assert read_recipe(finished[0] / "recipe.toml") == recipe_of(small_study)
    assert json.loads((finished[0] / "run.json").read_text())["device"] == "cpu"


def test_a_second_call_does_nothing_again(
    finished: tuple[Path, StudyResults, list[Call]], small_study: Path, copied: Path, reads: Any
) -> None:
    assert trained(finished[2]) == {
        *("Small net", "translator"),
        *(f"Small net again on {images}" for images in ("original", "epoch-0001", "epoch-0002")),
    }
    before = state_of(copied)
    with reads("study, a second time"):
        results, calls = run(small_study, copied)
    reads.check_once("study, a second time", *models_of(copied, small_study))
    after = state_of(copied)
    assert results == finished[1]
    assert trained(calls) == set()
    assert {name: found[1] for name, found in after.items()} == {name: found[1] for name, found in before.items()}
    rewritten = {name for name in before if after[name] != before[name]}
    reported = {"report.html", "results.json", "predictions.csv", "figure-4.png", "recipe.toml", "run.json"}
    assert rewritten <= reported | {"tables/leaderboard.csv", "tables/leaderboard.tex"}


def models_of(out: Path, recipe: Path) -> list[Path]:
    """Return the files of the small study's models."""
    own = [max((out / "classifiers" / "small-net" / "snapshots").iterdir()), recipe.parent / "given.safetensors"]
    return [*own, *(out / "translator" / "snapshots").iterdir(), out / "restained" / "white-point" / NORMALIZER]


def test_each_model_is_opened_and_hashed_once(
    finished: tuple[Path, StudyResults, list[Call]], small_study: Path, reads: Any
) -> None:
    reads.check_once("study", *models_of(finished[0], small_study))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "done_again"),
    [
        (["tested_epochs=[2]", "source_fine_tuning=false", "name=other"], set()),
        (
            ["source_fine_tuning.epochs=2"],
            {f"Small net again on {name}" for name in ("original", "epoch-0001", "epoch-0002")},
        ),
        (
            ["translator.learning_rate=1e-4"],
            {"translator", "Small net again on epoch-0001", "Small net again on epoch-0002"},
        ),
    ],
    ids=lambda value: ", ".join(sorted(value))[:40],
)
def test_only_what_depends_on_a_change_is_done_again(
    small_study: Path, copied: Path, changes: list[str], done_again: set[str]
) -> None:
    _, calls = run(small_study, copied, *changes)
    assert trained(calls) == done_again


@pytest.mark.slow
def test_another_seed_does_all_again(
    finished: tuple[Path, StudyResults, list[Call]], small_study: Path, copied: Path
) -> None:
    results, calls = run(small_study, copied, "seed=1")
    assert trained(calls) == trained(finished[2])
    assert {row.seed for row in results.rows} == {1}


@pytest.mark.slow
def test_renamed_files_are_still_the_same_cells(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    """Re-stained cells are kept in the order of the manifest, which is that of the names."""
    first, second = hospitals / "yellow-field", tmp_path / "renamed"
    manifest = read_manifest(first / "manifest.csv")
    for place, path in enumerate(sorted(manifest.column("path"), reverse=True)):
        name = second / Path(path).parent / f"{place:03d}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first / path, name)
    index(second, "yellow-field", crop_px=32)

    before, first_calls = probabilities_of_restained(small_study, first, tmp_path / "out")
    after, second_calls = probabilities_of_restained(small_study, second, tmp_path / "out")
    assert (trained(first_calls), trained(second_calls)) == ({"translator"}, set())
    assert len(set(before.values())) > 20
    assert after == before


def probabilities_of_restained(recipe: Path, source: Path, out: Path) -> tuple[dict[tuple[str, str], str], list[Call]]:
    """Study a source; return the probabilities of its re-stained test cells by class and hash of the original file."""
    calls: list[Call] = []
    lean = with_manifests(recipe_of(recipe, *LEAN), source=source / "manifest.csv")
    study(lean, out, fabric=start_fabric("cpu"), progress=lambda *call: calls.append(call))
    manifest = read_manifest(source / "manifest.csv")
    hashes = dict(zip(manifest.column("path"), manifest.column("sha256"), strict=True))
    with (out / "predictions.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["snapshot"]]
    return {(line["class"], hashes[line["id"]]): line["probability"] for line in lines}, calls


# Strict or transductive: told by hashes, not by what was asked for.


def test_a_translator_that_saw_the_scored_cells_is_called_transductive(small_study: Path, tmp_path: Path) -> None:
    results, _ = run(small_study, tmp_path / "out", "mode=transductive", *LEAN)
    assert [(row.images, row.mode) for row in results.rows] == [
        ("original", "none"),
        ("original", "none"),
        ("cyclegan", "transductive"),
    ]


def test_a_file_at_both_sites_is_refused(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    """What the classifiers learn on must not be what they are scored on."""
    copies = Path(shutil.copytree(hospitals / "yellow-field", tmp_path / "copies"))
    table = (copies / "manifest.csv").read_text().replace(",yellow-field,", ",copies,")
    (copies / "manifest.csv").write_text(table)
    recipe = with_manifests(recipe_of(small_study, *LEAN), target=copies / "manifest.csv")
    with pytest.raises(
        SplitError, match="expected different images at yellow-field and copies, got 24 that are at both"
    ):
        study(recipe, tmp_path / "out", fabric=start_fabric("cpu"))


# Cut, killed, in use.


@pytest.mark.slow
def test_a_study_that_is_cut_again_and_again_ends_as_an_uncut_one(
    finished: tuple[Path, StudyResults, list[Call]], small_study: Path, tmp_path: Path
) -> None:
    whole, expected, calls = finished
    labels = list(dict.fromkeys(label for label, _, total in calls if total))
    assert len(labels) > 12
    for wanted in labels:

        def cut(label: str, done: int, total: int, wanted: str = wanted) -> None:
            if label == wanted and 2 * done >= total:
                raise CutError

        with pytest.raises(CutError):
            study(recipe_of(small_study), tmp_path / "out", fabric=start_fabric("cpu"), progress=cut)
        assert not (tmp_path / "out" / "results.json").exists()
    results, _ = run(small_study, tmp_path / "out")
    assert without_times(results) == without_times(expected)
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    assert {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")} == {
        path.relative_to(whole) for path in whole.rglob("*")
    }


def start(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    program = "import sys; from hemabridge.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, "study", str(recipe), "--out", str(out), "--device", "cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_a_study_that_is_killed_resumes_to_the_same_results(
    finished: tuple[Path, StudyResults, list[Call]], small_study: Path, tmp_path: Path
) -> None:
    whole, expected, _ = finished
    out = tmp_path / "out"
    process = start(small_study, out)
    wait_for(out / "translator/snapshots/epoch-0001.safetensors", process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (out / "classifiers" / "small-net" / DONE).is_file()
    assert not (out / "translator" / DONE).exists()
    results, calls = run(small_study, out)
    assert without_times(results) == without_times(expected)
    assert (out / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    assert "translator" in trained(calls)
    assert "Small net" not in trained(calls)


@pytest.mark.slow
def test_a_study_stops_when_it_is_asked_to_and_says_how_to_go_on(small_study: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "long.toml"
    shutil.copy(small_study.parent / "given.safetensors", tmp_path)
    recipe.write_text(small_study.read_text().replace("epoch_images = 5", "epoch_images = 5000"))
    process = start(recipe, tmp_path / "out")
    wait_for(tmp_path / "out" / "translator" / "events.jsonl", process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stopped in the stage translator. " in told
    assert b"the same command resumes from there" in told
    assert b"Traceback" not in told
    assert list((tmp_path / "out" / "translator" / "state").glob("*.safetensors"))


def test_two_processes_do_not_share_a_study(small_study: Path, tmp_path: Path) -> None:
    with hold_folder(tmp_path / "out"), pytest.raises(RunError, match="in use"):
        run(small_study, tmp_path / "out")


def test_files_that_no_study_wrote_are_left_alone(small_study: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "translator" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    (tmp_path / "out" / "recipe.toml").touch()  # an earlier study's folder; others are refused before
    with pytest.raises(RunError, match="holds files that no run wrote"):
        run(small_study, tmp_path / "out", *LEAN)
    assert mine.read_text() == "keep"


# What cannot work is told before hours of training, not after.


def after_a_sound_one(classifier: str) -> str:
    sound = '{name = "Sound", train = {architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}}'
    return f'classifiers=[{sound}, {{name = "A", {classifier}}}]'


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (after_a_sound_one('train = {architecture = "resnet81"}'), ModelError, "did you mean resnet"),
        (after_a_sound_one('train = {weights = "none.safetensors"}'), ModelError, "does not exist"),
        (after_a_sound_one('external = {file = "none.onnx", classes = ["a", "b"]}'), ModelError, "none.onnx"),
        (
            after_a_sound_one(GIVEN.partition(", ")[2].removesuffix("}").replace("neutrophil", "basophil")),
            ModelError,
            "expected a classifier of the classes neutrophil, lymphocyte",
        ),
        ('ensemble={members = [{train = {architecture = "resnet81"}}]}', ModelError, "did you mean resnet"),
        (
            'ensemble={members = [{train = {architecture = "test_resnet", weights = "none.safetensors"}}]}',
            ModelError,
            "does not exist",
        ),
        ('classes=["neutrophil", "blast"]', ManifestError, "got none of 'blast' at the source, 'blast' at the target"),
        ("source.manifest=nowhere.csv", ManifestError, "nowhere.csv"),
        ("target_parts={train = 0.9, test = 0.2}", HemabridgeError, "sum to 1"),
    ],
)
def test_what_cannot_be_had_is_told_before_any_training(
    small_study: Path, tmp_path: Path, change: str, error: type[HemabridgeError], told: str
) -> None:
    calls: list[Call] = []
    with pytest.raises(error, match=told):
        study(recipe_of(small_study, change), tmp_path / "out", progress=lambda *call: calls.append(call))
    assert trained(calls) == set()


def test_a_file_that_is_not_the_one_that_was_indexed_is_told(
    small_study: Path, hospitals: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(hospitals / "yellow-field", tmp_path / "changed"))
    manifest = read_manifest(changed / "manifest.csv")
    shutil.copy(manifest.paths()[0], manifest.paths()[1])
    recipe = with_manifests(recipe_of(small_study, *LEAN), source=changed / "manifest.csv")
    with pytest.raises(ManifestError, match="expected the file that was indexed"):
        study(recipe, tmp_path / "out", fabric=start_fabric("cpu"))


def test_a_truth_of_other_cells_is_refused(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    manifest = read_manifest(hospitals / "truth" / "manifest.csv")
    half = manifest.select(np.arange(len(manifest)) % 2 == 0)
    write_manifest(half, tmp_path / "half.csv")
    changes = (f"truth.manifest={tmp_path}/half.csv", f"truth.root={hospitals}/truth")
    with pytest.raises(ManifestError, match="expected the ground truth of the same 12 cells"):
        run(small_study, tmp_path / "out", *LEAN, *changes)


# Which snapshot is that of an epoch.


def snapshot(images: int, epoch_images: int) -> Snapshot:
    return Snapshot(Path(f"{images}.safetensors"), (images, images / epoch_images))


def test_an_epoch_ends_with_the_batch_that_completes_it() -> None:
    snapshots = [snapshot(images, 25) for images in (26, 38, 50, 76)]  # batches of 2, and one snapshot between
    found = snapshots_of(snapshots, [2, 1, 3], batch_size=2)
    assert [s.images for s in found] == [50, 26, 76]
    with pytest.raises(RecipeError, match=r"among the snapshots' epochs \[1.04, 1.52, 2.0, 3.04\], got \[4\]"):
        snapshots_of(snapshots, [1, 4], batch_size=2)


def test_a_snapshot_one_image_later_is_not_that_of_the_epoch() -> None:
    snapshots = [snapshot(images, 7) for images in (7, 8, 15)]
    assert [s.images for s in snapshots_of(snapshots, [1], batch_size=1)] == [7]
    with pytest.raises(RecipeError, match=r"got \[2\]"):
        snapshots_of(snapshots, [2], batch_size=1)


def test_a_review_takes_its_arms_from_the_finished_study(finished: tuple[Path, StudyResults, list[Call]]) -> None:
    out, results, _ = finished
    spec = {"kind": "review", "name": "r", "readers": ["Ana"], "tasks": [{"questions": ["stain"], "cells": 2}]}
    arms = arms_of(ReviewPlan.model_validate({**spec, "study": out}))
    assert list(arms) == ["original", "target", "epoch-0002"]
    images = np.load(out / "restained" / "epoch-0002" / "test.npy")
    shown = [read_image(cell.picture.path) for cell in arms["epoch-0002"].cells.values()]
    np.testing.assert_array_equal(np.stack(shown), images)
    tested = next(row.n for row in results.rows if row.images == "original" and row.site == "yellow-field")
    assert len(arms["original"].cells) == len(images) == tested


def test_an_unknown_architecture_is_refused_before_any_image_is_read(small_study: Path, tmp_path: Path) -> None:
    """The source's manifest does not exist: a study that reads images first says that instead."""
    unreadable = "source.manifest=nowhere.csv"
    with pytest.raises(ModelError, match="expected the name of a timm model, got 'resnet81'"):
        run(
            small_study,
            tmp_path / "out",
            unreadable,
            'classifiers=[{name = "a", train = {architecture = "resnet81"}}]',
        )
    with pytest.raises(ManifestError, match=r"nowhere\.csv"):
        run(small_study, tmp_path / "out", unreadable)
