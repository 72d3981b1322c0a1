from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.errors import ImageError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image, write_image
from hemabridge.storage.files import atomic_write, sha256_of


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
