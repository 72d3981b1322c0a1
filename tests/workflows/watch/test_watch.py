"""A watched folder: what arrives is done once, appears whole, is held at an alarm, and is in the log."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from watched_folder import ONCE, events, watched

import hemabridge.workflows.watch.watch as watch_module
from hemabridge.deployment.audit_log import read_entries
from hemabridge.errors import InputError, RunError
from hemabridge.imaging.files import read_image
from hemabridge.models.bundled import BundleModel
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.watch.arrivals import Arrivals
from hemabridge.workflows.watch.audit_check import check_log
from hemabridge.workflows.watch.gate import Appearance, alarms_of
from hemabridge.workflows.watch.watch import LOG, WatchConfig


def test_what_is_there_is_done_once_and_logged(model: BundleModel, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    done, told = watched(model, source, out)
    assert (done.batches, done.images, done.quarantined) == ({"passed": 1}, 12, 0), told
    assert told[0] == f"watching {source}: does what is there and complete, then stops"
    (batch,) = (out / "batches").iterdir()
    assert sorted(path.name for path in (batch / "restained").glob("*.png")) == sorted(before)
    rows = events(out, "image")
    assert {row["sha256"] for row in rows} == {sha256_of(path) for path in source.iterdir()}
    for row in rows:
        assert row["output_sha256"] == sha256_of(batch / "restained" / row["path"])
        assert (row["bundle_sha256"], row["gate"]) == (model.sha256, "passed")
        restained = model.standardize(read_image(source / row["path"])[None])[0]
        np.testing.assert_array_equal(read_image(batch / "restained" / row["path"]), restained)
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    (source / "00.png").rename(source / "another-name.png")
    again, _ = watched(model, source, out)
    assert (again.batches, again.images) == ({}, 0)
    assert (check_log(out).compared, check_log(out).missing) == (12, 0)
    assert not (out / ".work").exists()


@pytest.mark.parametrize("keep", [False, True])
def test_a_dicom_file_that_arrives_has_an_identity_only_if_it_is_wanted(
    model: BundleModel, source: Path, tmp_path: Path, write_dicom: Callable[..., Path], keep: bool
) -> None:
    write_dicom(source / "00.dcm", read_image(source / "00.png"), PatientName="Some^Body")
    watched(model, source, tmp_path / "out", replace(ONCE, keep_identity=keep))
    (made,) = (tmp_path / "out" / "batches").glob("*/restained/00.dcm")
    assert str(pydicom.dcmread(made).PatientName) == ("Some^Body" if keep else "")


def test_an_unknown_hospital_is_held_or_flagged(model: BundleModel, images: Path, tmp_path: Path) -> None:
    done, told = watched(model, images / "dark-blurred", tmp_path / "out")
    assert done.batches == {"held": 1}
    assert any(line.startswith("ALARM: unknown hospital") for line in told)
    assert not (tmp_path / "out" / "batches").exists()
    (held,) = (tmp_path / "out" / "held").iterdir()
    assert json.loads((held / "batch.json").read_text(encoding="utf-8"))["gate"] == "held"
    flag = WatchConfig("flag", 0.01, 0, 1, once=True)
    done, _ = watched(model, images / "dark-blurred", tmp_path / "flagged", flag)
    assert done.batches == {"flagged": 1}
    (batch,) = events(tmp_path / "flagged", "batch")
    assert batch["alarms"]
    assert batch["site"] == "out-of-distribution"


def test_drift_and_refusals_are_alarms() -> None:
    quiet = Appearance("in-distribution", 0.0)
    assert alarms_of(quiet, [0.0] * 10, 0, 50) == ()
    assert alarms_of(Appearance(None, None), [], 0, 0) == ()
    assert alarms_of(Appearance("borderline", 4.5), [], 0, 50)[0].startswith("drift: 4.5 standard deviations")
    assert alarms_of(Appearance("in-distribution", 1.5), [1.5] * 12, 0, 50)[0].startswith("drift")
    assert alarms_of(quiet, [], 12, 50) == ("morphology: the guard refuses 12 of 50 cells",)
    # Of 50 cells 1.8 are expected to be refused, and 8 or more once in 500 batches at most.
    assert [bool(alarms_of(quiet, [], refused, 50)) for refused in (6, 7, 8)] == [False, False, True]


def test_files_are_read_up_to_a_number_of_bytes(
    model: BundleModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(path.stat().st_size for path in source.iterdir())
    with (source / "large.png").open("wb") as file:
        file.truncate(3 * size)
    monkeypatch.setattr(watch_module, "MOST_BYTES", 2 * size)
    done, told = watched(model, source, tmp_path / "out")
    assert (done.images, done.quarantined) == (12, 1)
    assert f"quarantine: large.png: expected a file of at most {2 * size:,} bytes, got {3 * size:,}" in told
    assert 6 <= done.batches.total() <= 12


def test_an_image_that_still_grows_or_vanishes_waits(source: Path) -> None:
    arrivals = Arrivals(source, settle_s=5)
    assert arrivals.complete(0.0) == []
    assert len(arrivals.complete(4.9)) == 0
    with (source / "00.png").open("ab") as file:
        file.write(b"more")
    found = {arrival.path: arrival for arrival in arrivals.complete(5.0)}
    assert len(found) == 11
    assert "00.png" not in found
    assert "00.png" in {arrival.path for arrival in arrivals.complete(10.0)}
    gone, grown = found["01.png"], found["02.png"]
    (source / "01.png").unlink()
    (source / "02.png").write_bytes(b"other")
    assert arrivals.take(gone) is None
    assert arrivals.take(grown) is None
    taken = arrivals.take(found["03.png"])
    assert taken is not None
    assert taken.sha256 == sha256_of(source / "03.png")


def test_a_changed_result_and_a_log_that_was_cut_off_are_noticed(
    model: BundleModel, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    watched(model, source, out)
    last = check_log(out).chain.last
    watched(model, source, out)
    assert check_log(out, last).compared == 12
    whole = (out / LOG).read_bytes()
    (out / LOG).write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
    assert check_log(out).chain.entries == 5
    with pytest.raises(RunError, match="expected an entry with the hash"):
        check_log(out, last)
    (out / LOG).write_bytes(whole)
    image = next((out / "batches").glob("*/restained/05.png"))
    image.write_bytes(image.read_bytes() + b" ")
    with pytest.raises(RunError, match="it was changed after that"):
        check_log(out)
    shutil.rmtree(image.parent.parent)
    assert check_log(out).missing == 12


def test_folders_that_cannot_be_used_are_refused(model: BundleModel, source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder to watch, got nothing"):
        watched(model, tmp_path / "missing", tmp_path / "out")
    with pytest.raises(InputError, match="expected folders of which none is in the other"):
        watched(model, source, source / "out")
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"letter\.txt"):
        watched(model, source, other)


@pytest.fixture
def started(model: BundleModel, source: Path, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Start the command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = "from hemabridge.cli import main; main()"

    def start() -> subprocess.Popen:
        words = ["watch", model.path, source, tmp_path / "out", "--settle", "0", "--interval", "0.05"]
        command = [sys.executable, "-c", program, *map(str, words)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_a_running_watch_takes_what_arrives_stops_cleanly_and_survives_a_kill(
    started: Callable[..., subprocess.Popen], images: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def logged(count: int) -> Callable[[], bool]:
        return lambda: (out / LOG).is_file() and len(events(out, "image")) >= count

    process = started()
    wait_for(logged(12), process)
    second = started()
    assert (second.wait(120), "is in use" in second.communicate()[1]) == (2, True)
    (source / ".part.png").write_bytes((images / "yellow-field" / "00.png").read_bytes())
    (source / ".part.png").rename(source / "arrived.png")
    wait_for(logged(13), process)
    process.send_signal(signal.SIGTERM)
    assert (process.wait(120), "Traceback" in process.communicate()[1]) == (0, False)
    assert [entry["event"] for entry in read_entries(out / LOG)][-1] == "stopped"
    for number, path in enumerate(sorted((images / "yellow-field").iterdir())[1:11]):
        shutil.copy(path, source / f"more-{number}.png")
    process = started()
    time.sleep(2)
    process.kill()
    process.communicate()
    starts = len(events(out, "started"))
    process = started()
    wait_for(lambda: logged(23)() and len(events(out, "started")) > starts, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    process.communicate()
    assert len(events(out, "image")) == 23
    assert (check_log(out).compared, check_log(out).missing) == (23, 0)
