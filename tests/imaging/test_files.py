import struct
import zlib
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image


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


def test_color_profile_changes_nothing(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "icc.png", icc_profile=b"not even a profile")
    np.testing.assert_array_equal(read_image(tmp_path / "icc.png"), rgb)


@pytest.mark.shared
def test_a_fourth_sample_that_nobody_filled_is_no_transparency(shared_dir: Path) -> None:
    files = sorted((shared_dir / "cases" / "fourth-sample").iterdir())
    pictures = [read_image(path).astype(int) for path in files]
    assert len(files) == 4
    for picture in pictures:
        assert picture.min() < 50  # not white
        np.testing.assert_allclose(picture, pictures[0], atol=1)


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
