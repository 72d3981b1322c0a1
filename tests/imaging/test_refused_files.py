"""Files that are refused: hostile, damaged, too large, and of more than one picture."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hemabridge.errors import ImageError
from hemabridge.imaging.files import read_image


def png_header(width: int, height: int, bit_depth: int = 8) -> bytes:
    """A PNG that claims a size and holds nearly nothing, put together by hand from the specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "file is empty"),
        (
            "text.png",
            b"class,label\nneutrophil,1\n",
            r"could not decode it \(by its content it is none of these\); export",
        ),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "could not decode"),
        ("cut.tif", b"II*\0\x08\0\0\0", "found none"),
        ("bomb.png", png_header(30_000, 30_000), "expected 1 to 100,000,000 pixels, the header says far more"),
        ("bomb16.png", png_header(30_000, 30_000, 16), "expected 1 to 100,000,000 pixels"),
        ("limit.png", png_header(10_001, 10_000), "10001 x 10000"),
        ("warned.png", png_header(12_000, 12_000), "12000 x 12000"),
        ("zero.png", png_header(0, 5), "could not decode|0 x 5"),
        ("short.png", png_header(50, 50), "could not decode"),
        ("short16.png", png_header(50, 50, 16), "could not decode"),
        ("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "could not decode"),
        ("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "could not decode"),
    ],
)
def test_hostile_content_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(tmp_path / name)
    assert str(caught.value).count(name) == 1


def test_an_image_below_the_limit_is_read_without_a_warning(tmp_path: Path) -> None:
    # The decoder warns from 89,478,486 pixels on; the zeros make the file large enough for what it declares.
    (tmp_path / "large.png").write_bytes(png_header(9_999, 10_000) + bytes(20_000))
    with pytest.raises(ImageError, match="could not decode") as caught:
        read_image(tmp_path / "large.png")
    assert "bomb" not in str(caught.value)


def test_a_file_that_may_not_be_opened_is_told_with_its_path_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "locked.png").write_bytes(png_header(5, 5))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"\(Permission denied\)") as caught:
        read_image(tmp_path / "locked.png")
    assert str(caught.value).count("locked.png") == 1


def test_huge_tiff_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(30_000)
        tiff.pages[0].tags["ImageLength"].overwrite(30_000)
    with pytest.raises(ImageError, match="30000 x 30000"):
        read_image(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "TIFF16", "TIFF16-lzw", "PNG16"])
def test_truncated_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = BytesIO()
    if kind.startswith("TIFF16"):
        compression = "lzw" if kind.endswith("lzw") else None
        tifffile.imwrite(buffer, noise.astype(np.uint16) * 257, photometric="rgb", compression=compression)
    elif kind == "PNG16":
        buffer.write(imagecodecs.png_encode(noise.astype(np.uint16) * 257))
    else:
        Image.fromarray(noise).save(buffer, format=kind)
    whole = buffer.getvalue()
    path = tmp_path / "cut"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError, match="could not decode"):
        read_image(path)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_several_frames_are_refused(tmp_path: Path, rgb: np.ndarray, kind: str) -> None:
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    frames[0].save(tmp_path / "many", format=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="found 2 frames or pages"):
        read_image(tmp_path / "many")


def test_single_gif_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (10, 20, 30)).save(tmp_path / "one.gif")
    np.testing.assert_array_equal(read_image(tmp_path / "one.gif"), np.full((2, 3, 3), (10, 20, 30)))


@pytest.mark.parametrize("dtype", [np.float32, np.uint32, np.int16])
def test_other_sample_types_are_refused(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "odd.tif", np.ones((8, 8), dtype), photometric="minisblack")
    with pytest.raises(ImageError, match="8 or 16 bits per sample"):
        read_image(tmp_path / "odd.tif")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="found a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="found nothing"):
        read_image(tmp_path / "missing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="found something else"):  # and it returns: nothing waits for a writer
        read_image(tmp_path / "pipe.png")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["JPEG", "PNG", "BMP", "GIF", "TIFF"]), data=st.data())
def test_damaged_bytes_give_an_image_or_an_image_error(
    tmp_path: Path, rgb: np.ndarray, kind: str, data: st.DataObject
) -> None:
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, format=kind)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(damaged)
    try:
        image = read_image(tmp_path / "damaged")
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3


def test_a_thumbnail_is_left_out_and_two_pictures_are_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as tiff:
        tiff.write(rgb[::4, ::4], photometric="rgb", subfiletype=1)
        tiff.write(rgb, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "thumbnail.tif"), rgb)
    with tifffile.TiffWriter(tmp_path / "after.tif") as tiff:
        tiff.write(rgb, photometric="rgb")
        tiff.write(rgb[::4, ::4], photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "after.tif"), rgb)
    tifffile.imwrite(tmp_path / "two.tif", np.stack([rgb, rgb]), photometric="rgb")
    with pytest.raises(ImageError, match="found 2 frames or pages"):
        read_image(tmp_path / "two.tif")


def test_an_imagej_composite_is_one_picture(tmp_path: Path, rgb: np.ndarray) -> None:
    planes = np.moveaxis(rgb, -1, 0)
    tifffile.imwrite(tmp_path / "composite.tif", planes, imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    np.testing.assert_array_equal(read_image(tmp_path / "composite.tif"), rgb)


def test_a_chain_of_pages_that_leads_back_ends(tmp_path: Path, rgb: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "loop.tif", np.stack([rgb] * 3), photometric="rgb")
    content = bytearray((tmp_path / "loop.tif").read_bytes())
    first = struct.unpack("<I", content[4:8])[0]
    entries = struct.unpack("<H", content[first : first + 2])[0]
    place = first + 2 + 12 * entries
    content[place : place + 4] = struct.pack("<I", first)
    (tmp_path / "loop.tif").write_bytes(content)
    with pytest.raises(ImageError, match="got a loop"):
        read_image(tmp_path / "loop.tif")


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [(1, 100_000_000, "sides of at most 32,768"), (9_999, 10_000, "which cannot hold them")],
)
def test_a_few_bytes_that_declare_many_pixels_are_refused_before_any_is_made(
    tmp_path: Path, width: int, height: int, message: str
) -> None:
    (tmp_path / "small.png").write_bytes(png_header(width, height))
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "small.png")
