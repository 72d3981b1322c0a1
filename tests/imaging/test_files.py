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
from PIL import Image, ImageCms

from hemabridge.errors import ImageError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_decoded, read_image


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture in which every corner differs, uint8[24, 40, 3]."""
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([rows * 10, columns * 6, 255 - rows * 5 - columns], axis=-1).astype(np.uint8)


def png_header(width: int, height: int, bit_depth: int = 8) -> bytes:
    """A PNG that claims a size and holds nearly nothing, put together by hand from the specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".bmp", {}), (".tif", {"compression": "tiff_lzw"})])
def test_lossless_formats_are_read_to_the_bit(tmp_path: Path, rgb: np.ndarray, suffix: str, options: dict) -> None:
    path = tmp_path / f"cell{suffix}"
    Image.fromarray(rgb).save(path, **options)
    image = read_image(path)
    np.testing.assert_array_equal(image, rgb)
    assert image.flags.writeable
    assert image.flags.c_contiguous


def test_content_decides_not_the_name(tmp_path: Path, rgb: np.ndarray) -> None:
    path = tmp_path / "cell.jpg"
    Image.fromarray(rgb).save(path, format="PNG")
    np.testing.assert_array_equal(read_image(path), rgb)


def test_gray_becomes_three_equal_channels(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.repeat(rgb[..., :1], 3, axis=2))


def test_one_bit_image_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    assert read_image(tmp_path / "bit.png").tolist() == [[[255] * 3, [0] * 3]]


def test_single_pixel_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (7, 8, 9)).save(tmp_path / "dot.png")
    assert read_image(tmp_path / "dot.png").tolist() == [[[7, 8, 9]]]


def test_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png", transparency=1)
    assert read_image(tmp_path / "palette.png").tolist() == [[[200, 0, 0], [255, 255, 255]]]


def test_half_transparent_black_is_middle_gray(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (0, 0, 0, 51)).save(tmp_path / "alpha.png")  # 51/255 = 0.2 of black over white
    assert read_image(tmp_path / "alpha.png").tolist() == [[[204, 204, 204]]]


def test_cmyk_jpeg_keeps_its_color(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "cmyk.jpg")[8, 8], [255, 0, 0], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "tiff8", "tiff16", "png16"])
def test_orientation_is_undone(tmp_path: Path, rgb: np.ndarray, orientation: int, kind: str) -> None:
    stored = Image.fromarray(rgb)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> Pillow's Transpose, JEITA CP-3451
    expected = np.asarray(stored.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else stored)
    path = tmp_path / "turned"
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "jpeg":
        stored.save(path, format="JPEG", quality=100, subsampling=0, exif=exif)
    elif kind == "png16":
        data = imagecodecs.png_encode(rgb.astype(np.uint16) * 257)
        tag = exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(tag)) + b"eXIf" + tag + struct.pack(">I", zlib.crc32(b"eXIf" + tag))
        path.write_bytes(data[:33] + chunk + data[33:])  # straight after the 8-byte signature and the 25-byte IHDR
    else:
        pixels = rgb if kind == "tiff8" else rgb.astype(np.uint16) * 257
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    tolerance = 6 if kind == "jpeg" else 0
    np.testing.assert_allclose(read_image(path).astype(int), expected.astype(int), atol=tolerance)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("samples", ["gray", "rgb", "planar"])
def test_16_bit_tiff_is_divided_by_257(tmp_path: Path, rgb: np.ndarray, compression: str | None, samples: str) -> None:
    values = np.minimum(rgb.astype(np.int64) * 257 + 100, 65535).astype(np.uint16)  # 100 < 257 / 2: rounds back down
    path = tmp_path / "deep.tif"
    if samples == "gray":
        tifffile.imwrite(path, values[..., 0], compression=compression, photometric="minisblack")
    elif samples == "rgb":
        tifffile.imwrite(path, values, compression=compression, photometric="rgb")
    else:
        planes = np.moveaxis(values, -1, 0)
        tifffile.imwrite(path, planes, compression=compression, photometric="rgb", planarconfig="separate")
    expected = np.repeat(rgb[..., :1], 3, axis=2) if samples == "gray" else rgb
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_is_divided_by_257(tmp_path: Path, rgb: np.ndarray, channels: int) -> None:
    values = rgb[..., :channels].astype(np.uint16).squeeze() * 257
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(values))
    expected = rgb if channels == 3 else np.repeat(rgb[..., :1], 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), expected)


def test_16_bit_alpha_lies_on_white(tmp_path: Path) -> None:
    values = np.array([[[0, 0, 0, 65535 // 5]]], np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(values))
    assert read_image(tmp_path / "deep.png").tolist() == [[[204, 204, 204]]]


def test_color_profile_changes_nothing(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "icc.png", icc_profile=b"not even a profile")
    np.testing.assert_array_equal(read_image(tmp_path / "icc.png"), rgb)


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


@pytest.mark.shared
def test_a_fourth_sample_that_nobody_filled_is_no_transparency(shared_dir: Path) -> None:
    files = sorted((shared_dir / "cases" / "fourth-sample").iterdir())
    pictures = [read_image(path).astype(int) for path in files]
    assert len(files) == 4
    for picture in pictures:
        assert picture.min() < 50  # not white
        np.testing.assert_allclose(picture, pictures[0], atol=1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_samples_of_16_bits_are_scaled_by_the_depth_that_they_hold(
    tmp_path: Path, rgb: np.ndarray, bits: int, kind: str
) -> None:
    values = np.rint(rgb / 255 * (2**bits - 1)).astype(np.uint16)
    path = tmp_path / "deep"
    if kind == "tiff":
        tifffile.imwrite(path, values, photometric="rgb")
    else:
        path.write_bytes(imagecodecs.png_encode(values))
    np.testing.assert_array_equal(read_image(path), rgb)
    found = read_decoded(path)
    assert (found.bits, found.stored_bits, found.stated) == (bits, 16, False)


def test_a_stated_depth_decides(tmp_path: Path) -> None:
    values = np.full((8, 8, 3), 512, np.uint16)
    tifffile.imwrite(tmp_path / "stated.tif", values, photometric="rgb", extratags=[(281, "H", 1, 1023, True)])
    assert read_image(tmp_path / "stated.tif")[0, 0].tolist() == [128] * 3
    assert read_decoded(tmp_path / "stated.tif").stated


def test_that_16_bits_may_be_used_is_no_stated_depth(tmp_path: Path, rgb: np.ndarray) -> None:
    values = np.rint(rgb / 255 * 4095).astype(np.uint16)
    tifffile.imwrite(tmp_path / "full.tif", values, photometric="rgb", extratags=[(281, "H", 1, 65535, True)])
    np.testing.assert_array_equal(read_image(tmp_path / "full.tif"), rgb)
    assert not read_decoded(tmp_path / "full.tif").stated


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("samples", ["gray", "rgb", "rgba"])
def test_a_jpeg_2000_file_of_many_bits_is_scaled_by_its_depth(
    tmp_path: Path, rgb: np.ndarray, bits: int, samples: str
) -> None:
    values = np.rint(rgb / 255 * (2**bits - 1)).astype(np.uint16)
    if samples == "rgba":
        values = np.dstack([values, np.zeros(values.shape[:2], np.uint16)])
    encoded = imagecodecs.jpeg2k_encode(values[..., 0] if samples == "gray" else values, bitspersample=bits)
    (tmp_path / "deep.jp2").write_bytes(encoded)
    expected = np.repeat(rgb[..., :1], 3, axis=2) if samples == "gray" else rgb
    np.testing.assert_allclose(read_image(tmp_path / "deep.jp2").astype(int), expected, atol=1)
    assert read_decoded(tmp_path / "deep.jp2").bits == bits


@pytest.mark.parametrize("opacity", [0, 1, 255])
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_opacity_that_would_hide_all_is_no_transparency(
    tmp_path: Path, rgb: np.ndarray, name: str, opacity: int
) -> None:
    picture = Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], opacity, np.uint8)]))
    picture.save(tmp_path / name, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
    np.testing.assert_array_equal(read_image(tmp_path / name), rgb)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_associated_opacity_of_a_tiff_is_laid_over_white_or_ignored(tmp_path: Path, depth: type) -> None:
    full = np.iinfo(depth).max
    colors = np.full((8, 8, 3), full // 2, depth)
    half = np.full((8, 8, 1), full, depth)
    half[:4] = full // 2
    for name, opacity in (("zero", np.zeros_like(half)), ("half", half)):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", np.dstack([colors, opacity]), photometric="rgb", extrasamples=("assocalpha",)
        )
    assert np.unique(read_image(tmp_path / "zero.tif")).tolist() in ([127], [128])
    found = read_image(tmp_path / "half.tif")[:, 0, 0].astype(int)
    assert found[0] >= 254  # light that passes half-open pixels, and the white behind them
    assert abs(found[-1] - 128) <= 1


@pytest.mark.parametrize(("planar", "compression"), [("separate", None), ("contig", "webp"), ("contig", "jpegxl")])
def test_tiff_layouts_that_pillow_does_not_read(
    tmp_path: Path, rgb: np.ndarray, planar: str, compression: str | None
) -> None:
    pixels = rgb if compression else np.moveaxis(np.dstack([rgb, np.full(rgb.shape[:2], 17, np.uint8)]), -1, 0)
    further = {} if compression else {"extrasamples": ("unspecified",)}
    args = {"level": 100} if compression == "webp" else {}
    tifffile.imwrite(
        tmp_path / "odd.tif",
        pixels,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        compressionargs={"lossless": True, **args} if compression else None,
        **further,
    )
    np.testing.assert_allclose(read_image(tmp_path / "odd.tif").astype(int), rgb, atol=2)


def test_a_color_profile_is_applied(tmp_path: Path) -> None:
    # A profile with the primaries of Display P3 (SMPTE EG 432-1).
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    Image.new("RGB", (4, 4), (200, 30, 60)).save(tmp_path / "srgb.png", icc_profile=profile.tobytes())
    assert read_image(tmp_path / "srgb.png")[0, 0].tolist() == [200, 30, 60]
    wide = _wide_profile()
    Image.new("RGB", (4, 4), (200, 120, 60)).save(tmp_path / "wide.png", icc_profile=wide)
    expected = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (200, 120, 60)), ImageCms.ImageCmsProfile(BytesIO(wide)), profile
    )
    assert expected is not None
    found = read_image(tmp_path / "wide.png")[0, 0]
    assert found.tolist() == list(expected.getpixel((0, 0)))
    assert found.tolist() != [200, 120, 60]
    Image.new("RGB", (4, 4), (200, 120, 60)).save(tmp_path / "lab.png", icc_profile=lab.tobytes())
    assert read_image(tmp_path / "lab.png")[0, 0].tolist() == [200, 120, 60]  # no profile of RGB samples


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


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".jp2", ".webp"])
def test_rarer_formats_are_read(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    image_format = {".jp2": "JPEG2000", ".webp": "WEBP"}.get(suffix, "JPEG")
    options = {"lossless": True} if suffix == ".webp" else {} if suffix == ".jp2" else {"quality": 98, "subsampling": 0}
    Image.fromarray(rgb).save(tmp_path / f"cell{suffix}", format=image_format, **options)
    np.testing.assert_allclose(read_image(tmp_path / f"cell{suffix}").astype(int), rgb.astype(int), atol=6)
    assert suffix in IMAGE_SUFFIXES


def test_jpeg_2000_in_tiff_is_read(tmp_path: Path, rgb: np.ndarray) -> None:
    large = np.tile(rgb, (3, 3, 1))
    tifffile.imwrite(tmp_path / "wavelets.tif", large, photometric="rgb", compression="jpeg2000", tile=(48, 48))
    np.testing.assert_array_equal(read_image(tmp_path / "wavelets.tif"), large)


def _wide_profile() -> bytes:
    """A matrix profile with the primaries of Display P3, put together by hand from the ICC specification (v2)."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags = {
        b"desc": text + bytes(-len(text) % 4),
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        b"rXYZ": xyz((0.5151, 0.2412, -0.0011)),
        b"gXYZ": xyz((0.2920, 0.6922, 0.0419)),
        b"bXYZ": xyz((0.1571, 0.0666, 0.7841)),
        b"rTRC": gamma,
        b"gTRC": gamma,
        b"bTRC": gamma,
    }
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    head = struct.pack(">I4sI4s4s4s", 0, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head = (head + bytes(28) + s15(0.9642) + s15(1.0) + s15(0.8249)).ljust(128, b"\0")
    whole = head + struct.pack(">I", len(tags)) + table + data
    return struct.pack(">I", len(whole)) + whole[4:]
