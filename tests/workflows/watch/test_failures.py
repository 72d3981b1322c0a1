"""What cannot be done is tried again, given up and told, and a kill loses nothing."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from watched_folder import events, watched

import hemabridge.workflows.watch.watch as watch_module
from hemabridge.data.listing import escaped, is_printable
from hemabridge.deployment.audit_log import AuditLog
from hemabridge.errors import ModelError, RunError
from hemabridge.models.bundled import BundleModel
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.watch import batch as batch_module
from hemabridge.workflows.watch import tries as tries_module
from hemabridge.workflows.watch.arrivals import Arrivals, Taken
from hemabridge.workflows.watch.audit_check import check_log
from hemabridge.workflows.watch.batch import Batch
from hemabridge.workflows.watch.tries import Attempts


def test_what_is_no_image_goes_into_quarantine_with_the_reason(
    model: BundleModel, source: Path, tmp_path: Path
) -> None:
    (source / "broken.png").write_bytes((source / "00.png").read_bytes()[:200])
    (source / "notes.txt").write_text("left alone", encoding="utf-8")
    done, told = watched(model, source, tmp_path / "out")
    assert (done.images, done.quarantined) == (12, 1), told
    assert "left alone: 1 not images by name: notes.txt" in told
    kept = sorted((tmp_path / "out" / "quarantine").iterdir())
    assert [path.read_bytes() for path in kept if path.suffix == ".png"] == [(source / "broken.png").read_bytes()]
    told_of = json.loads(next(path for path in kept if path.suffix == ".json").read_text(encoding="utf-8"))
    assert told_of["path"] == "broken.png"
    assert told_of["reason"]
    again, _ = watched(model, source, tmp_path / "out")
    assert again.quarantined == 0
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "broken.png").write_bytes(b"no image")
    done, _ = watched(model, alone, tmp_path / "out2")
    assert (done.images, done.quarantined) == (0, 1)


@pytest.mark.parametrize("name", [os.fsdecode(b"bad-\xe9.png"), "\u8840" * 83 + ".png", "a" * 251 + ".png", "a\nb.png"])
def test_no_name_of_a_damaged_image_stops_it(name: str, model: BundleModel, source: Path, tmp_path: Path) -> None:
    """Each name is allowed on Linux: not UTF-8, of the largest size in bytes, in characters, and with a line end."""
    named = 2 * is_printable(name)  # the content of the others is not read: renamed, they are done
    for folder in ("one", "two"):
        (source / folder).mkdir()
        (source / folder / name).write_bytes(b"no image")
    done, _ = watched(model, source, tmp_path / "out")
    assert (done.images, done.quarantined) == (12, 2)
    reasons = [json.loads(path.read_bytes()) for path in (tmp_path / "out" / "quarantine").glob("*.reason.json")]
    assert sorted(reason["path"] for reason in reasons) == [escaped(f"{folder}/{name}") for folder in ("one", "two")]
    assert len(list((tmp_path / "out" / "quarantine").iterdir())) == 2 + named
    assert watched(model, source, tmp_path / "out")[0].quarantined == 2 - named
    for folder in ("one", "two"):
        (source / folder / name).replace(source / f"{folder}.png")
    assert watched(model, source, tmp_path / "out")[0].quarantined == 2 - named
    assert check_log(tmp_path / "out").compared == 12


def test_a_full_disk_is_tried_again_and_then_given_up(
    model: BundleModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, tries = tmp_path / "out", []

    def full(path: Path, _content: bytes) -> None:
        tries.append(path)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(batch_module, "write_bytes", full)
        with pytest.raises(RunError, match=r"got an error of the system 2 times: .*No space left"):
            watched(model, source, out)
    assert len(tries) == 2
    assert not (out / "batches").exists()
    done, _ = watched(model, source, out)
    assert done.images == 12
    assert check_log(out).compared == 12


def test_an_image_that_cannot_be_read_goes_into_quarantine_after_its_tries(
    model: BundleModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Arrivals.take

    def take(self: Arrivals, arrival: object) -> object:
        if arrival.path == "03.png":  # type: ignore[attr-defined]
            raise OSError(5, "Input/output error")
        return usual(self, arrival)  # type: ignore[arg-type]

    monkeypatch.setattr(Arrivals, "take", take)
    done, told = watched(model, source, tmp_path / "out")
    assert (done.images, done.quarantined) == (11, 1)
    assert any("quarantine: 03.png: cannot be read after 2 tries: Input/output error" in line for line in told)


def test_a_batch_that_appeared_before_a_kill_is_logged_at_the_next_start(
    model: BundleModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    class Killed(BaseException):
        pass

    usual = AuditLog.append

    def kill(self: AuditLog, entries: list) -> None:
        if entries[0]["event"] == "image":
            raise Killed
        usual(self, entries)

    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", kill)
        with pytest.raises(Killed):
            watched(model, source, out)
    assert events(out, "image") == []
    done, told = watched(model, source, out)
    assert done.images == 0
    assert told[0].endswith("had appeared before a kill, and is logged now")
    assert len(events(out, "image")) == 12
    assert check_log(out).compared == 12
    assert len(list((out / "batches").iterdir())) == 1


def test_an_image_that_kills_the_program_is_done_alone_and_then_given_up(
    model: BundleModel, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    culprit = sha256_of(source / "07.png")
    out.mkdir()
    first = {sha256_of(path): 1 for path in source.iterdir()}  # as after one kill in a batch of all
    (out / ".attempts.json").write_text(json.dumps({**first, culprit: 2}), encoding="utf-8")
    done, told = watched(model, source, out)
    assert (done.images, done.quarantined) == (11, 1)
    assert done.batches["passed"] + done.batches["held"] == 11
    assert any("quarantine: 07.png: the program ended 2 times" in line for line in told)
    assert json.loads((out / ".attempts.json").read_text(encoding="utf-8")) == {culprit: 2}
    again, _ = watched(model, source, out)
    assert (again.images, again.quarantined) == (0, 0)


def test_an_image_with_an_unexpected_error_is_given_up(
    model: BundleModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if an image needed too much memory: the command ends, and is started again."""
    culprit = sha256_of(source / "07.png")

    def work_on(model: BundleModel, images: Sequence[Taken], *others: Any, **more: Any) -> Batch:
        if any(image.sha256 == culprit for image in images):
            raise MemoryError
        return batch_module.work_on(model, images, *others, **more)

    monkeypatch.setattr(watch_module, "work_on", work_on)
    for _ in range(2):
        with pytest.raises(MemoryError):
            watched(model, source, tmp_path / "out")
    done, told = watched(model, source, tmp_path / "out")
    assert done.quarantined == 1
    assert any("quarantine: 07.png: the program ended 2 times" in line for line in told)
    assert len(events(tmp_path / "out", "image")) == 11


def test_what_could_not_be_counted_is_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tries_module, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"), attempts.begun(["a"]):
        pytest.fail("the work may not begin")
    assert attempts.counts == {}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ModelError])
def test_work_that_fails_or_is_stopped_is_no_attempt(error: type[BaseException], tmp_path: Path) -> None:
    def work() -> None:
        with Attempts(tmp_path).begun(["a", "b"]):
            assert Attempts(tmp_path).counts == {"a": 1, "b": 1}
            raise error

    with pytest.raises(error):
        work()
    assert Attempts(tmp_path).counts == {}
