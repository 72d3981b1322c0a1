import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.errors import InputError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import crop_center, resize_square
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.review.arms import Picture
from hemabridge.review.picture_files import encoded, padded, write_pictures


def noise(height: int, width: int, seed: int = 0) -> UInt8Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Picture]:
    """A JPEG photograph with metadata, its re-stained PNG, and a smooth small PNG that was squeezed to a square."""
    exif = Image.Exif()
    exif[0x010E] = "epoch-0010"
    Image.fromarray(noise(120, 160)).save(tmp_path / "a.jpg", exif=exif, comment=b"original")
    Image.fromarray(noise(120, 160, 1)).save(tmp_path / "b.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "c.png")
    photograph = Picture(tmp_path / "a.jpg", 100)
    return {
        "a" * 24: photograph,
        "b" * 24: Picture(tmp_path / "b.png", like=photograph),
        "c" * 24: Picture(tmp_path / "c.png", "whole"),
    }


def test_nothing_of_the_files_tells_the_pictures_apart(files: dict[str, Picture], tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    assert write_pictures(files, out) == 64
    written = sorted(out.iterdir())
    assert [path.name for path in written] == [f"{letter * 24}.png" for letter in "abc"]
    assert len({path.stat().st_size for path in written}) == 1
    for path in written:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (512, 512))
            assert (dict(image.getexif()), image.info) == ({}, {})
        assert b"original" not in path.read_bytes()


def test_the_order_in_which_files_are_written_tells_no_arm(
    files: dict[str, Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = Path.write_bytes

    def watched(path: Path, content: bytes) -> int:
        written.append(path.stem[0])
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", watched)
    write_pictures(dict(reversed(files.items())), tmp_path / "pictures")
    assert "".join(written) == "abcabc"  # by the random ids, not as drawn; then once more with padding


def test_each_picture_shows_its_square_at_the_common_size(files: dict[str, Picture], tmp_path: Path) -> None:
    write_pictures(files, tmp_path / "pictures")
    for letter, name in (("a", "a.jpg"), ("b", "b.png")):  # the re-stained one is cut as its photograph is
        square = crop_center(read_image(tmp_path / name), 100)
        expected = resize_square(resize_square(square, 64), 512)
        np.testing.assert_array_equal(read_image(tmp_path / "pictures" / f"{letter * 24}.png"), expected)


def test_a_restained_picture_of_another_size_than_its_photograph_is_shown_whole(tmp_path: Path) -> None:
    Image.fromarray(noise(120, 160)).save(tmp_path / "a.png")
    Image.fromarray(noise(64, 64)).save(tmp_path / "b.png")
    write_pictures({"b" * 24: Picture(tmp_path / "b.png", like=Picture(tmp_path / "a.png", 100))}, tmp_path / "out")
    expected = resize_square(noise(64, 64), 512)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / f"{'b' * 24}.png"), expected)


def test_a_stated_size_is_taken_and_large_ones_are_not_enlarged(files: dict[str, Picture], tmp_path: Path) -> None:
    assert write_pictures(files, tmp_path / "out", size_px=600) == 600
    assert read_image(next((tmp_path / "out").iterdir())).shape == (600, 600, 3)


def test_pictures_of_a_few_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(1, 1)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="at least 16 px, got one of 1 px"):
        write_pictures({"a" * 24: Picture(tmp_path / "a.png")}, tmp_path / "out")


@pytest.mark.parametrize("extra", [12, 13, 5000])
def test_padding_changes_the_length_and_not_one_pixel(extra: int) -> None:
    image = noise(20, 20)
    content = encoded(image)
    longer = padded(content, len(content) + extra)
    assert len(longer) == len(content) + extra
    with Image.open(io.BytesIO(longer)) as read:
        read.verify()
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(longer))), image)


def test_padding_refuses_what_is_no_png_or_would_get_shorter() -> None:
    with pytest.raises(InputError, match="expected a PNG"):
        padded(b"GIF89a", 1000)
    content = encoded(noise(4, 4))
    with pytest.raises(InputError, match="at least 12 bytes shorter"):
        padded(content, len(content) + 11)
