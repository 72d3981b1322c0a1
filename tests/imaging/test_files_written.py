import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.errors import ImageError, RunError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image, write_image
from hemabridge.storage.files import atomic_write, copy_file, open_own, sha256_of
from hemabridge.storage.run_folder import hold_folder


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture in which every corner differs, uint8[24, 40, 3]."""
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([rows * 10, columns * 6, 255 - rows * 5 - columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_written_image_reads_back(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    path = tmp_path / "new" / f"cell{suffix}"
    write_image(path, rgb)
    np.testing.assert_array_equal(read_image(path), rgb)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.suffix.lower() in IMAGE_SUFFIXES


def test_jpeg_is_written_with_full_chroma(tmp_path: Path, rgb: np.ndarray) -> None:
    write_image(tmp_path / "cell.jpg", rgb)
    with Image.open(tmp_path / "cell.jpg") as image:
        factors = [layer[1:3] for layer in image.layer]
        assert image.format == "JPEG"
        assert len(image.getexif()) == 0
    assert factors == [(1, 1), (1, 1), (1, 1)]
    np.testing.assert_allclose(read_image(tmp_path / "cell.jpg").astype(int), rgb.astype(int), atol=8)


def test_a_view_with_strides_is_written(tmp_path: Path, rgb: np.ndarray) -> None:
    write_image(tmp_path / "cell.png", rgb[::-1, ::2])
    np.testing.assert_array_equal(read_image(tmp_path / "cell.png"), rgb[::-1, ::2])


def test_what_cannot_be_written_is_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected one of the suffixes"):
        write_image(tmp_path / "cell.xyz", rgb)
    for wrong in (rgb.astype(np.float32), rgb[..., 0], rgb[:0]):
        with pytest.raises(ImageError, match=r"expected RGB uint8\[H, W, 3\]"):
            write_image(tmp_path / "cell.png", wrong)
    assert not any(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_temporary_is_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_sha256_of_a_published_vector(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_hash_is_that_of_the_file(tmp_path: Path, rgb: np.ndarray) -> None:
    assert write_image(tmp_path / "cell.jpg", rgb) == sha256_of(tmp_path / "cell.jpg")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".jp2"])
def test_a_short_write_is_an_error_and_no_picture(
    tmp_path: Path, suffix: str, write_limit: Callable[[int], None]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    write_limit(2_000)
    with pytest.raises(OSError, match=r"File too large|expected .* bytes"):
        write_image(tmp_path / f"cell{suffix}", noise)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def write_limit() -> Iterator[Callable[[int], None]]:
    """Limit the size of files that this process writes, as `ulimit -f` does; the limit goes with the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path, rgb: np.ndarray) -> None:
    name = "細" * 83 + ".png"  # 253 bytes in UTF-8, of 255
    write_image(tmp_path / name, rgb)
    np.testing.assert_array_equal(read_image(tmp_path / name), rgb)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    for name in (".lock", "events.jsonl", "dangling"):
        (run / name).symlink_to(victim if name != "dangling" else tmp_path / "new.txt")
    with pytest.raises(RunError, match="got a link"), hold_folder(run):
        pass
    for name in ("events.jsonl", "dangling"):
        with pytest.raises(RunError, match="got a link"):
            open_own(run / name, "a")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new.txt").exists()


def test_a_copy_is_whole_and_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim, source, path = tmp_path / "victim.txt", tmp_path / "source.csv", tmp_path / "out.csv"
    victim.write_text("precious")
    source.write_bytes(b"new" * 9000)
    path.symlink_to(victim)
    copy_file(source, path)
    assert (path.read_bytes(), path.is_symlink(), victim.read_text()) == (b"new" * 9000, False, "precious")
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "missing", path)
    assert path.read_bytes() == b"new" * 9000
    assert sorted(found.name for found in tmp_path.iterdir()) == ["out.csv", "source.csv", "victim.txt"]


def test_a_lock_leaves_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("kept")
    with hold_folder(tmp_path):
        assert (tmp_path / ".lock").read_text() == "kept"
