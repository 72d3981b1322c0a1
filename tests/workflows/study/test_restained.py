from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.cells import CellSet
from hemabridge.imaging.files import read_image
from hemabridge.models import open_model
from hemabridge.training.snapshots import read_snapshot, write_snapshot
from hemabridge.workflows.study.restained import picture_names, read_restained, restain, restain_back


def cells(*ids: str) -> CellSet:
    rng = np.random.default_rng(len(ids))
    images = rng.integers(0, 256, (len(ids), 16, 16, 3), dtype=np.uint8)
    return CellSet(images, np.zeros(len(ids), np.int64), ("a",), ids, tuple(f"{i:064}" for i in range(len(ids))), 16)


def test_what_is_written_is_read_back_and_shown_as_pictures(small_snapshot: Path, tmp_path: Path) -> None:
    source = {"train": cells("a/1.jpg", "a/2.jpg", "3.png"), "test": cells("a/x.jpg", "a/x.png")}
    to_target = open_model(small_snapshot).cell_standardizer()
    restain(to_target, source, tmp_path)
    found = read_restained(source, tmp_path)
    for part, read in found.items():
        np.testing.assert_array_equal(read.images, to_target.standardize(source[part].images))
        assert (read.ids, read.hashes) == (source[part].ids, source[part].hashes)
    assert list(found) == ["train", "test"]
    np.testing.assert_array_equal(read_image(tmp_path / "to_target" / "a" / "x.jpg.png"), found["test"].images[0])
    np.testing.assert_array_equal(read_image(tmp_path / "to_target" / "a" / "x.png"), found["test"].images[1])


def test_the_other_direction_is_shown_too(small_snapshot: Path, tmp_path: Path) -> None:
    home = cells("b/home.tif")
    restain_back(open_model(small_snapshot), home, tmp_path)
    back = open_model(small_snapshot).cell_standardizer("to_source").standardize(home.images)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "to_source" / "b" / "home.png"), back)


def test_a_translator_without_the_other_direction_shows_none(small_snapshot: Path, tmp_path: Path) -> None:
    raw, header = read_snapshot(small_snapshot)
    one_way = {name: tensor for name, tensor in raw.items() if not name.startswith("to_source/")}
    path = write_snapshot(tmp_path / "snapshots", 8, 1.0, one_way, None, header).path
    restain_back(open_model(path), cells("home.tif"), tmp_path)
    assert not (tmp_path / "to_source").exists()


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (("a/1.png", "b/1.jpg"), ["a/1.png", "b/1.png"]),
        (("1.jpg", "1.png", "1.tif", "2.tif"), ["1.jpg.png", "1.png", "1.tif.png", "2.png"]),
        (("cell.1.jpg", "cell.2.jpg"), ["cell.1.png", "cell.2.png"]),
        ((), []),
    ],
)
def test_no_two_pictures_share_a_name(ids: tuple[str, ...], names: list[str]) -> None:
    assert picture_names(ids) == names
