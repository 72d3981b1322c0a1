import csv
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from hemabridge.errors import InputError, ModelError, RunError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.provenance import SyntheticOrigin, read_origin
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models import open_model
from hemabridge.models.open import find_snapshot
from hemabridge.models.site_answer import ANSWER_FILE
from hemabridge.normalizers.square import SquareStandardizer
from hemabridge.storage.run_folder import hold_folder
from hemabridge.training.snapshots import read_snapshot, write_snapshot
from hemabridge.training.tensorfile import write_tensors
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import Standardized, standardize


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a job."""


def picture(seed: int, height: int = 33, width: int = 41) -> UInt8Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A tree of five images of odd sizes in several formats."""
    folder = tmp_path / "in"
    for number, name in enumerate(("a.png", "b/c.jpg", "b/c.png", "b/d/Name with Blanks.TIF", "ü.bmp")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number, 32 + number, 41 - number)).save(path)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def outputs(folder: Path) -> set[str]:
    return set(hashes(folder)) - {LOG, ".lock"}


def statuses(done: Standardized) -> dict[str, str]:
    return {row.path: row.status for row in done.rows}


def log_of(out: Path) -> list[dict[str, str]]:
    with (out / LOG).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def another_model(snapshot: Path, folder: Path, images: int = 16) -> Path:
    tensors, header = read_snapshot(snapshot)
    return write_snapshot(folder, images, 2.0, {k: t * 0.5 for k, t in tensors.items()}, None, header).path


def test_as_many_files_come_out_as_went_in_under_the_same_names(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    before = hashes(images)
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert outputs(tmp_path / "out") == set(before)
    assert statuses(done) == dict.fromkeys(before, "restained")
    assert done.count("restained") == len(done.rows) == 5
    assert [row.path for row in done.rows] == sorted(before)
    assert hashes(images) == before


def test_each_file_is_what_the_model_makes_of_it_in_its_own_size_and_format(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    standardize(small_snapshot, images, tmp_path / "out")
    model = SquareStandardizer(open_model(small_snapshot).cell_standardizer(), CropSpec(64, 32))
    for name in ("a.png", "ü.bmp", "b/d/Name with Blanks.TIF"):
        original, restained = read_image(images / name), read_image(tmp_path / "out" / name)
        np.testing.assert_array_equal(restained, model.standardize(original[None])[0])
        assert restained.shape == original.shape
        assert np.abs(restained.astype(int) - original).mean() > 5
    with Image.open(tmp_path / "out" / "b/c.jpg") as opened:
        assert (opened.format, opened.size) == ("JPEG", (40, 33))


def test_a_synthetic_image_stays_one_or_is_not_written(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    origin = SyntheticOrigin("a1" * 32, "b2" * 32, "x")
    for name in ("a.png", "b/c.jpg", "b/d/Name with Blanks.TIF"):
        write_image(images / name, picture(0), description=f"hemabridge image: {origin.as_text()};")
    (images / "ü.bmp").write_bytes((images / "a.png").read_bytes())
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert statuses(done)["ü.bmp"] == "failed"
    assert "expected a format that can store" in next(row.reason for row in done.rows if row.path == "ü.bmp")
    written = {path: read_origin(tmp_path / "out" / path) for path in statuses(done) if path != "ü.bmp"}
    assert written == {**dict.fromkeys(written, origin), "b/c.png": None}


def test_a_crop_says_how_large_the_cells_are(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    standardize(small_snapshot, images, tmp_path / "out", crop_px=32)
    original = read_image(images / "a.png")[None]
    square = original[:, :32, 4:36]
    at_its_own_scale = open_model(small_snapshot).cell_standardizer().standardize(square)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png")[:32, 4:36], at_its_own_scale)
    scaled = open_model(small_snapshot, crop_px=128).standardizer()
    assert isinstance(scaled, SquareStandardizer)
    assert scaled.crop == CropSpec(128, 32)


def test_every_row_is_in_the_log_with_the_hashes_of_file_and_model(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    done = standardize(small_snapshot, images, tmp_path / "out")
    rows = log_of(tmp_path / "out")
    assert [(r["path"], r["status"], r["sha256"]) for r in rows] == [(r.path, r.status, r.sha256) for r in done.rows]
    assert {r["path"]: r["sha256"] for r in rows} == hashes(images)
    assert {r["model"] for r in rows} == {hashlib.sha256(small_snapshot.read_bytes()).hexdigest()}


def test_bad_files_get_a_row_and_do_not_stop_the_job(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    whole = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").touch()
    (images / "text.png").write_text("no image")
    Image.new("RGB", (40, 40)).save(images / "still.gif")
    (images / "dangling.png").symlink_to(images / "nowhere.png")
    (images / "folder.png").symlink_to(images / "b")
    os.mkfifo(images / "pipe.png")
    Image.new("RGB", (1, 1)).save(images / "dot.png")
    Image.new("RGB", (400, 1)).save(images / "line.png")
    (images / "notes.txt").write_text("mine")
    (images / "no_suffix").touch()
    done = standardize(small_snapshot, images, tmp_path / "out")
    failed = {row.path: row.reason for row in done.rows if row.status == "failed"}
    assert set(failed) == {
        *("cut.png", "dangling.png", "dot.png", "empty.jpg", "folder.png", "line.png", "pipe.png", "still.gif"),
        "text.png",
    }
    assert "the file is empty" in failed["empty.jpg"]
    assert failed["still.gif"] == (
        "expected .bmp, .dcm, .dicom, .jfif, .jp2, .jpe, .jpeg, .jpg, .png, .tif, .tiff, .webp, got .gif, which is "
        "read but not written; convert the image to PNG"
    )
    assert "found nothing" in failed["dangling.png"]
    assert "expected an image of at least 8 x 8 pixels, to show a cell, got 1 x 1; " in failed["dot.png"]
    assert "got 400 x 1; " in failed["line.png"]
    assert all(failed.values())
    skipped = {row.path: row.reason for row in done.rows if row.status == "skipped"}
    assert skipped == {
        "no_suffix": "left out: not images by name",
        "notes.txt": "left out: not images by name",
    }
    assert done.count("restained") == 5
    assert len(done.rows) == 16 == len(log_of(tmp_path / "out"))
    assert len(outputs(tmp_path / "out")) == 5


@pytest.mark.parametrize("side", [8, 9, 10, 16])
def test_small_images_are_seen_in_a_square_as_in_training(small_snapshot: Path, tmp_path: Path, side: int) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(0, side, 50)).save(tmp_path / "in" / "a.png")
    done = standardize(small_snapshot, tmp_path / "in", tmp_path / "out")
    assert done.rows[0].status == "restained"
    assert read_image(tmp_path / "out" / "a.png").shape == (side, 50, 3)


def test_too_little_memory_for_one_image_does_not_stop_the_job(
    small_snapshot: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SquareStandardizer.standardize

    def standardize_little(self: SquareStandardizer, given: UInt8Image) -> UInt8Image:
        if given.shape[1] > 34:
            raise RuntimeError("not enough memory: you tried to allocate")
        return original(self, given)

    monkeypatch.setattr(SquareStandardizer, "standardize", standardize_little)
    done = standardize(small_snapshot, images, tmp_path / "out")
    large = ("b/d/Name with Blanks.TIF", "ü.bmp")
    assert statuses(done) == dict.fromkeys(hashes(images), "restained") | dict.fromkeys(large, "failed")


def test_images_of_every_kind_are_taken(small_snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rgb = picture(0, 24, 40)
    tifffile.imwrite(folder / "deep.tif", rgb.astype(np.uint16) * 257, photometric="rgb")
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(rgb.astype(np.uint16) * 257))
    Image.fromarray(rgb).quantize(8).save(folder / "palette.png")
    Image.fromarray(rgb[..., 0]).save(folder / "gray.png")
    Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(folder / "turned.jpg", exif=exif)
    done = standardize(small_snapshot, folder, tmp_path / "out")
    assert set(statuses(done).values()) == {"restained"}
    shapes = {path.name: read_image(path).shape for path in (tmp_path / "out").iterdir() if path.name[0] not in ".s"}
    assert shapes.pop("turned.jpg") == (40, 24, 3)  # upright, as it is seen
    assert set(shapes.values()) == {(24, 40, 3)}
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "deep.tif"), read_image(tmp_path / "out" / "deep.png"))
    with Image.open(tmp_path / "out" / "turned.jpg") as opened:
        assert dict(opened.getexif()) == {}


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
    Image.fromarray(picture(51)).save(second / "a.png")  # takes the place of the first folder's
    (second / "broken.png").write_bytes(b"no image")
    (out / "b" / "c.jpg").unlink()
    done = standardize(small_snapshot, second, out)
    assert [row.path for row in done.rows] == ["a.png", "b/new.png", "broken.png"]
    rows = {row["path"]: row for row in log_of(out)}
    assert len(rows) == len(log_of(out))
    assert {name for name, row in rows.items() if row["status"] == "restained"} == outputs(out)
    kept = first.keys() - {"a.png", "b/c.jpg"}
    assert {name: rows[name] for name in kept} == {name: first[name] for name in kept}
    assert rows["a.png"]["sha256"] == hashes(second)["a.png"]
    assert standardize(small_snapshot, second, out) == done
    assert {row["path"]: row for row in log_of(out)} == rows


def test_what_a_log_claims_outside_of_the_folder_is_not_kept(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    with (out / LOG).open("a") as file:
        file.write(f"../in/a.png,restained,,{'0' * 64},x\n")
    standardize(small_snapshot, images, out)
    assert {row["path"] for row in log_of(out)} == outputs(out)


def test_a_second_call_does_nothing_again(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    first = standardize(small_snapshot, images, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("[!.]*") if path.name != LOG}
    second = standardize(small_snapshot, images, tmp_path / "out")
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(log_of(tmp_path / "out")) == 5


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


@pytest.mark.parametrize("torn", ["", "b/c.png,restai", '"b, c', "b/c.png,restained,,", "\0\0\n"])
def test_a_cut_job_is_resumed_and_its_log_has_each_file_once(
    small_snapshot: Path, images: Path, tmp_path: Path, torn: str
) -> None:
    def cut(_label: str, done: int, _total: int) -> None:
        if done == 2:
            raise CutError

    with pytest.raises(CutError):
        standardize(small_snapshot, images, tmp_path / "out", progress=cut)
    assert outputs(tmp_path / "out") == {"a.png", "b/c.jpg"}
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in ("a.png", "b/c.jpg")}
    with (tmp_path / "out" / LOG).open("a") as file:
        file.write(torn)  # what a killed process left of its last line
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert [row["path"] for row in log_of(tmp_path / "out")] == [row.path for row in done.rows]
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in times} == times
    standardize(small_snapshot, images, tmp_path / "whole")
    assert {n: h for n, h in hashes(tmp_path / "out").items() if n != LOG} == {
        n: h for n, h in hashes(tmp_path / "whole").items() if n != LOG
    }


def test_what_changed_is_done_again_and_nothing_else(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    before = hashes(out)
    Image.fromarray(picture(77)).save(images / "a.png")
    (out / "b/c.png").unlink()
    kept = (out / "b/c.jpg").stat().st_mtime_ns
    standardize(small_snapshot, images, out)
    after = hashes(out)
    assert after["a.png"] != before["a.png"]
    assert after["b/c.png"] == before["b/c.png"]
    assert (out / "b/c.jpg").stat().st_mtime_ns == kept


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


def test_a_call_stopped_before_the_first_image_goes_on(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def cut(_label: str, _done: int, _total: int) -> None:
        raise CutError

    with pytest.raises(CutError):
        standardize(small_snapshot, images, out, progress=cut)
    (out / ANSWER_FILE).write_text("{}")
    assert standardize(small_snapshot, images, out).count("restained") == len(outputs(out)) > 0


def test_a_folder_that_holds_nothing_but_the_answer_of_a_stopped_call_is_our_own(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ANSWER_FILE).write_text("{}")
    assert standardize(small_snapshot, images, tmp_path / "out").count("restained") > 0


def test_another_model_does_all_again(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    before = hashes(out)
    standardize(another_model(small_snapshot, tmp_path), images, out)
    assert [name for name in before if hashes(out)[name] == before[name] and name != ".lock"] == []
    assert len({row["model"] for row in log_of(out)}) == 1


def test_an_image_that_became_unreadable_leaves_no_older_output(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    standardize(small_snapshot, images, tmp_path / "out")
    (images / "a.png").write_bytes(b"")
    assert statuses(standardize(small_snapshot, images, tmp_path / "out"))["a.png"] == "failed"
    assert not (tmp_path / "out" / "a.png").exists()
    Image.fromarray(picture(0)).save(images / "a.png")
    assert statuses(standardize(small_snapshot, images, tmp_path / "out"))["a.png"] == "restained"


def test_a_file_that_vanishes_gets_a_row(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    def remove_the_next(_label: str, done: int, _total: int) -> None:
        if done == 1:
            (images / "b" / "c.jpg").unlink()

    done = standardize(small_snapshot, images, tmp_path / "out", progress=remove_the_next)
    assert statuses(done)["b/c.jpg"] == "failed"
    assert done.count("restained") == 4


@pytest.mark.parametrize("place", ["in", "in/out", "in/../in/deep/out", ".", "link/out"])
def test_originals_are_never_in_danger(small_snapshot: Path, images: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(images)
    (images / "in").mkdir()
    shutil.copy(images / "a.png", images / "in" / "b.png")  # written to `.`, it would land among the originals
    before = hashes(images)
    with pytest.raises(InputError, match="originals are never touched"):
        standardize(small_snapshot, images, tmp_path / place)
    assert hashes(images) == before


@pytest.mark.parametrize("name", ["a.png", LOG])
def test_a_folder_with_other_files_is_left_alone(small_snapshot: Path, images: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(InputError, match=f"got {name} in"):
        standardize(small_snapshot, images, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_wrong_folders_are_refused(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of images, got nothing"):
        standardize(small_snapshot, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="expected a folder of images, got a file"):
        standardize(small_snapshot, images / "a.png", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected an output folder, got a file"):
        standardize(small_snapshot, images, tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_listed_is_told(
    small_snapshot: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path).name == "d":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="expected folders that can be listed"):
        standardize(small_snapshot, images, tmp_path / "out")


def test_an_empty_folder_is_refused(small_snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "empty").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected images in .* got an empty folder"):
        standardize(small_snapshot, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_jobs_do_not_share_a_folder(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    with hold_folder(tmp_path / "out"), pytest.raises(RunError, match="in use"):
        standardize(small_snapshot, images, tmp_path / "out")


def test_a_run_folder_means_its_last_snapshot_or_the_named_one(small_snapshot: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_snapshot.parents[2], run)
    later = another_model(small_snapshot, run / "translator" / "snapshots")
    assert find_snapshot(small_snapshot) == small_snapshot
    assert find_snapshot(run) == find_snapshot(run / "translator") == later
    first = run / "translator" / "snapshots" / small_snapshot.name
    assert find_snapshot(run, small_snapshot.stem) == first
    with pytest.raises(ModelError, match=r"expected one of the snapshots epoch-0001, epoch-0002, got 'best'"):
        find_snapshot(run, "best")
    with pytest.raises(ModelError, match="got none at"):
        find_snapshot(tmp_path / "nowhere")


def test_what_is_no_translator_is_refused(images: Path, tmp_path: Path) -> None:
    write_tensors(tmp_path / "classifier.safetensors", {"raw/w": torch.zeros(1)}, {"kind": "classifier"})
    for name, told in (("classifier.safetensors", "whole snapshot of a classifier"), ("in/a.png", "got another file")):
        with pytest.raises(ModelError, match=told):
            standardize(tmp_path / name, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"config": None},
        {"config": {"crop_px": 31}},
        {"config": {"model": {"generator": {"blocks": 2}}}},
        {"source_crop_px": 0},
        {"source_crop_px": "wide"},
        {"source_crop_px": None},
        {"source_crop_px": -64},
    ],
    ids=str,
)
def test_a_damaged_snapshot_is_refused_before_anything_is_written(
    small_snapshot: Path, images: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    tensors, header = read_snapshot(small_snapshot)
    path = write_snapshot(tmp_path, 8, 1.0, tensors, None, header | change).path
    with pytest.raises((ModelError, InputError), match="expected"):
        standardize(path, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_is_told_of_each_file(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    standardize(small_snapshot, images, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [("re-staining", number, 5) for number in range(1, 6)]


def test_a_link_within_the_output_leads_nobody_to_the_originals(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    (images / "b" / "broken.png").write_bytes(b"no image")
    standardize(small_snapshot, images, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "b")
    (tmp_path / "out" / "b").symlink_to(images / "b")
    before = hashes(images)
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert hashes(images) == before
    assert {row.path for row in done.rows if row.status == "failed"} == {name for name in before if name[0] == "b"}
    assert "link that leads out of" in next(row.reason for row in done.rows if row.path == "b/c.png")


def test_images_of_another_scale_are_done_again(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    standardize(small_snapshot, images, tmp_path / "out")
    standardize(small_snapshot, images, tmp_path / "out", crop_px=30)
    standardize(small_snapshot, images, tmp_path / "afresh", crop_px=30)
    again, afresh = hashes(tmp_path / "out"), hashes(tmp_path / "afresh")
    assert again == afresh


def test_a_folder_in_the_place_of_a_failed_output_does_not_stop_the_job(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    (images / "0.png").mkdir()
    shutil.copy(images / "a.png", images / "0.png" / "a.png")
    standardize(small_snapshot, images, tmp_path / "out")
    shutil.rmtree(images / "0.png")
    (images / "0.png").write_bytes(b"no image")
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert (done.count("failed"), done.count("restained")) == (1, 5)


def test_what_index_leaves_out_is_not_restained(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    for name in ("_masks/1.png", "@eaDir/1.png", "._1.png"):
        write_image(images / name, np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "outside.png").write_bytes((images / "._1.png").read_bytes())
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    done = standardize(small_snapshot, images, tmp_path / "out")
    rows = {row.path: (row.status, row.reason) for row in done.rows}
    assert rows["_masks/"] == ("skipped", "left out: beginning with _")
    assert rows["@eaDir/"] == ("skipped", "left out: of the operating system or storage")
    assert rows["._1.png"] == ("skipped", "left out: of the operating system or storage")
    assert rows["link.png"][0] == "failed"
    assert "link that leaves" in rows["link.png"][1]
    assert not {"_masks", "@eaDir", "._1.png", "link.png"} & {path.name for path in (tmp_path / "out").iterdir()}


def test_a_whole_field_is_restained_with_a_remark(drawn_field: Path, small_snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_image(folder / "cell.png", picture(0))
    shutil.copyfile(drawn_field, folder / "field.png")
    told = []
    done = standardize(small_snapshot, folder, tmp_path / "out", progress=lambda *what: told.append(what))
    assert ["hemabridge find" in row.remark for row in done.rows] == [False, True]
    assert [row.status for row in done.rows] == ["restained", "restained"]
    assert [label for label, _, total in told if total == 0 and "1 of 2 images" in label] != []


def test_the_start_loads_nothing_slow_that_a_normalizer_does_not_need() -> None:
    program = """
import sys
import hemabridge.workflows.standardize.standardize
print(sorted({"polars", "scipy.optimize", "scipy.cluster", "skimage.color", "onnxruntime", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
