import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_study import LEAN, Call, recipe_of, run, trained

from hemabridge.data.manifest import read_manifest
from hemabridge.errors import RunError
from hemabridge.evaluation.results import StudyResults
from hemabridge.models.study_folder import NORMALIZER
from hemabridge.recipes.two_sites import with_manifests
from hemabridge.storage.run_folder import hold_folder
from hemabridge.storage.stages import DONE
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.index import index
from hemabridge.workflows.study.study import study


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a study."""


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
def copied(finished_study: tuple[Path, StudyResults, list[Call]], tmp_path: Path) -> Path:
    """The folder of the finished study, to be worked on."""
    return Path(shutil.copytree(finished_study[0], tmp_path / "out"))


def test_a_second_call_does_nothing_again(
    finished_study: tuple[Path, StudyResults, list[Call]], small_study: Path, copied: Path, reads: Any
) -> None:
    assert trained(finished_study[2]) == {
        *("Small net", "translator"),
        *(f"Small net again on {images}" for images in ("original", "epoch-0001", "epoch-0002")),
    }
    before = state_of(copied)
    with reads("study, a second time"):
        results, calls = run(small_study, copied)
    reads.check_once("study, a second time", *models_of(copied, small_study))
    after = state_of(copied)
    assert results == finished_study[1]
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
    finished_study: tuple[Path, StudyResults, list[Call]], small_study: Path, reads: Any
) -> None:
    reads.check_once("study", *models_of(finished_study[0], small_study))


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
    finished_study: tuple[Path, StudyResults, list[Call]], small_study: Path, copied: Path
) -> None:
    results, calls = run(small_study, copied, "seed=1")
    assert trained(calls) == trained(finished_study[2])
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


@pytest.mark.slow
def test_a_study_that_is_cut_again_and_again_ends_as_an_uncut_one(
    finished_study: tuple[Path, StudyResults, list[Call]], small_study: Path, tmp_path: Path
) -> None:
    whole, expected, calls = finished_study
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
    finished_study: tuple[Path, StudyResults, list[Call]], small_study: Path, tmp_path: Path
) -> None:
    whole, expected, _ = finished_study
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
