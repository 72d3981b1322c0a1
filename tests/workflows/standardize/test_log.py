import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from restained_folder import hashes, log_of, outputs, picture, statuses

from hemabridge.errors import InputError
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import standardize


def test_every_row_is_in_the_log_with_the_hashes_of_file_and_model(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    done = standardize(small_snapshot, images, tmp_path / "out")
    rows = log_of(tmp_path / "out")
    assert [(r["path"], r["status"], r["sha256"]) for r in rows] == [(r.path, r.status, r.sha256) for r in done.rows]
    assert {r["path"]: r["sha256"] for r in rows} == hashes(images)
    assert {r["model"] for r in rows} == {hashlib.sha256(small_snapshot.read_bytes()).hexdigest()}


def test_a_name_that_is_no_text_is_a_name(small_snapshot: Path, tmp_path: Path) -> None:
    folder, name = tmp_path / "in", os.fsdecode(b'caf\xe9, "x"\n.png')
    folder.mkdir()
    Image.fromarray(picture(0)).save(folder / "plain.png")
    shutil.copy(folder / "plain.png", folder / name)
    assert standardize(small_snapshot, folder, tmp_path / "out").count("restained") == 2
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "out" / "plain.png").read_bytes()
    assert {row["path"] for row in log_of(tmp_path / "out")} == {name, "plain.png"}
    before = (tmp_path / "out" / name).stat().st_mtime_ns
    assert standardize(small_snapshot, folder, tmp_path / "out").count("restained") == 2
    assert (tmp_path / "out" / name).stat().st_mtime_ns == before


def test_no_cell_of_the_log_can_be_taken_for_a_formula_and_such_names_are_names(
    small_snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path("=in")
    source.mkdir()
    names = ("=1+1.png", "-a.png", "@b.png", "'c'.png")
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(source / name)
    (source / "+broken.png").write_bytes(b"no image")
    done = standardize(small_snapshot, source, Path("out"))
    assert statuses(done) == dict.fromkeys(names, "restained") | {"+broken.png": "failed"}
    cells = [cell for row in log_of(Path("out")) for cell in row.values()]
    assert sorted(cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))) == []
    before = {name: (Path("out") / name).stat().st_mtime_ns for name in names}
    assert standardize(small_snapshot, source, Path("out")) == done
    assert {name: (Path("out") / name).stat().st_mtime_ns for name in names} == before


def test_images_of_another_folder_join_those_of_the_first_and_the_log_has_them_all(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    out, second = tmp_path / "out", tmp_path / "second"
    standardize(small_snapshot, images, out)
    first = {row["path"]: row for row in log_of(out)}
    (second / "b").mkdir(parents=True)
    Image.fromarray(picture(50)).save(second / "b" / "new.png")
    (second / "broken.png").write_bytes(b"no image")
    (out / "b" / "c.jpg").unlink()
    done = standardize(small_snapshot, second, out)
    assert [row.path for row in done.rows] == ["b/new.png", "broken.png"]
    rows = {row["path"]: row for row in log_of(out)}
    assert len(rows) == len(log_of(out))
    assert {name for name, row in rows.items() if row["status"] == "restained"} == outputs(out)
    kept = first.keys() - {"b/c.jpg"}
    assert {name: rows[name] for name in kept} == {name: first[name] for name in kept}
    assert standardize(small_snapshot, second, out) == done
    assert {row["path"]: row for row in log_of(out)} == rows


def test_an_image_of_another_folder_does_not_take_the_place_of_one_of_the_same_name(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    out, second = tmp_path / "out", tmp_path / "second"
    standardize(small_snapshot, images, out)
    before = hashes(out)
    second.mkdir()
    Image.fromarray(picture(51)).save(second / "a.png")
    with pytest.raises(InputError, match="with those of other images; name another one"):
        standardize(small_snapshot, second, out)
    assert hashes(out) == before


def test_what_a_log_claims_outside_of_the_folder_is_not_kept(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    with (out / LOG).open("a") as file:
        file.write(f"../in/a.png,restained,,{'0' * 64},x\n")
    standardize(small_snapshot, images, out)
    assert {row["path"] for row in log_of(out)} == outputs(out)


def test_the_log_names_no_output_that_is_not_on_the_disk(
    small_snapshot: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, sync, at_sync = tmp_path / "out" / LOG, os.fsync, []

    def recorded(descriptor: int) -> None:
        at_sync.append((os.fstat(descriptor).st_ino, log.read_text() if log.is_file() else ""))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    done = standardize(small_snapshot, images, tmp_path / "out")
    for row in done.rows:
        if row.output_sha256:
            inode = (tmp_path / "out" / row.path).stat().st_ino
            assert not next(row.path in text for synced, text in at_sync if synced == inode)


@pytest.mark.slow
def test_a_killed_job_has_the_outputs_of_all_rows_of_its_log(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    program = f"""
import os, signal
from pathlib import Path
from hemabridge.workflows.standardize import log
from hemabridge.workflows.standardize.standardize import standardize
log.BATCH_ROWS = 2
def kill(_label, done, _total):
    if done == 3 and _label == "re-staining":
        os.kill(os.getpid(), signal.SIGKILL)
standardize(Path({str(small_snapshot)!r}), Path({str(images)!r}), Path({str(out)!r}), progress=kill)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    before = log_of(out)
    assert len(before) == 2
    for row in before:
        if row["output_sha256"]:
            assert hashlib.sha256((out / row["path"]).read_bytes()).hexdigest() == row["output_sha256"]
    done = standardize(small_snapshot, images, out)
    assert [row["path"] for row in log_of(out)] == [row.path for row in done.rows]


def test_the_log_states_the_hash_of_each_output_and_a_damaged_output_is_made_again(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    before = hashes(out)
    assert {row["path"]: row["output_sha256"] for row in log_of(out) if row["status"] == "restained"} == {
        name: before[name] for name in outputs(out)
    }
    (out / "b/c.jpg").write_bytes((out / "b/c.jpg").read_bytes()[:200])  # what a full disk leaves
    standardize(small_snapshot, images, out)
    assert {name: hashes(out)[name] for name in outputs(out)} == {name: before[name] for name in outputs(out)}
