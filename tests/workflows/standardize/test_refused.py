import os
import shutil
from pathlib import Path

import pytest
import torch
from restained_folder import another_model, hashes

from hemabridge.errors import InputError, ModelError, RunError
from hemabridge.models.open import find_snapshot
from hemabridge.storage.run_folder import hold_folder
from hemabridge.training.snapshots import read_snapshot, write_snapshot
from hemabridge.training.tensorfile import write_tensors
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import standardize


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
