from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.cells import CellSet
from hemabridge.imaging.files import read_image
from hemabridge.training.snapshots import Snapshot
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.workflows.restained import picture_names, read_restained, restain


def cells(*ids: str) -> CellSet:
    rng = np.random.default_rng(len(ids))
    images = rng.integers(0, 256, (len(ids), 16, 16, 3), dtype=np.uint8)
    return CellSet(images, np.zeros(len(ids), np.int64), ("a",), ids, tuple(f"{i:064}" for i in range(len(ids))), 16)


def test_what_is_written_is_read_back_and_shown_as_pictures(small_snapshot: Path, tmp_path: Path) -> None:
    source = {"train": cells("a/1.jpg", "a/2.jpg", "3.png"), "test": cells("a/x.jpg", "a/x.png")}
    home = cells("b/home.tif")
    restain(Snapshot(small_snapshot, 8, 1.0), source, home, tmp_path)
    found = read_restained(Snapshot(small_snapshot, 8, 1.0), "cyclegan", source, tmp_path)
    to_target = NeuralStandardizer.from_snapshot(small_snapshot)
    for part, read in (("train", found.train), ("test", found.test)):
        np.testing.assert_array_equal(read.images, to_target.standardize(source[part].images))
        assert (read.ids, read.hashes) == (source[part].ids, source[part].hashes)
    assert (found.name, found.method, found.epoch, found.seen) == (small_snapshot.stem, "cyclegan", 1.0, frozenset())
    np.testing.assert_array_equal(read_image(tmp_path / "to_target" / "a" / "x.jpg.png"), found.test.images[0])
    np.testing.assert_array_equal(read_image(tmp_path / "to_target" / "a" / "x.png"), found.test.images[1])
    back = NeuralStandardizer.from_snapshot(small_snapshot, "to_source").standardize(home.images)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "to_source" / "b" / "home.png"), back)


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
