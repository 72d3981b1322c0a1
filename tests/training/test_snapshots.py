from pathlib import Path

import pytest
import torch

from hemabridge.errors import ModelError
from hemabridge.training.snapshots import last_snapshot, list_snapshots, snapshot_files, write_snapshot

WEIGHTS = {"net/weight": torch.zeros(1)}


def test_the_last_snapshot_is_that_of_the_longest_training(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    for images, epoch in ((90_000, 9_999.0), (90_009, 10_000.0), (13, 1.44), (95_000, 10_555.5)):
        write_snapshot(folder, images, epoch, WEIGHTS, None, {"kind": "toy"})
        assert last_snapshot(snapshot_files(tmp_path)) == list_snapshots(tmp_path)[-1].path


def test_names_of_one_unit_tell_the_last_without_a_look_inside(tmp_path: Path) -> None:
    files = [tmp_path / f"epoch-{number}.safetensors" for number in ("0001", "9999", "10000")]
    assert last_snapshot(files) == files[-1]  # none of them is there
    with pytest.raises(ModelError, match="does not exist"):
        last_snapshot([*files, tmp_path / "images-00000007.safetensors"])
