"""What a file states besides its samples: depth, channels, masks, color profiles; and files that end early."""

import struct
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from hemabridge.errors import ImageError
from hemabridge.imaging.files import read_decoded, read_image
from hemabridge.imaging.whole_file import black_rows


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("how", ["packed", "ome"])
def test_a_dark_picture_has_the_depth_that_its_file_states(
    tmp_path: Path, rgb: np.ndarray, bits: int, how: str
) -> None:
    values = np.rint(rgb / 255 * (2**bits - 1) / 6).astype(np.uint16)
    options = {"bitspersample": bits} if how == "packed" else {"ome": True, "metadata": {"SignificantBits": bits}}
    tifffile.imwrite(tmp_path / "dark.tif", values, photometric="rgb", **options)
    found = read_decoded(tmp_path / "dark.tif")
    np.testing.assert_allclose(found.pixels.astype(int), rgb / 6, atol=1)
    assert (found.bits, found.stated, found.remarks()) == (bits, True, ())


def test_a_dark_picture_has_the_depth_of_those_beside_it(tmp_path: Path, rgb: np.ndarray) -> None:
    for number, share in enumerate((1, 1, 0.9, 0.8, 0.15)):
        values = np.rint(rgb / 255 * 4095 * share).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{number}.tif", values, photometric="rgb")
    found = read_decoded(tmp_path / "4.tif")
    np.testing.assert_allclose(found.pixels.astype(int), rgb * 0.15, atol=1)
    assert (found.bits, found.own_bits) == (12, 10)
    assert found.remarks() == ("the file does not state the depth of its samples of 16 bits: read as 12 bits",)


def test_pictures_of_several_cameras_keep_their_own_depth(tmp_path: Path, rgb: np.ndarray) -> None:
    for bits in (10, 12, 14, 16):
        for number in range(3):
            values = np.rint(rgb / 255 * (2**bits - 1)).astype(np.uint16)
            tifffile.imwrite(tmp_path / f"{bits}-{number}.tif", values, photometric="rgb")
    for bits in (10, 12, 14, 16):
        np.testing.assert_array_equal(read_image(tmp_path / f"{bits}-1.tif"), rgb)


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "ZYXS", "TYXS", "CYXS"])
def test_a_stack_of_imagej_is_not_taken_for_one_picture(tmp_path: Path, rgb: np.ndarray, axes: str) -> None:
    stack = np.stack([rgb, rgb // 2, rgb]) if axes.endswith("S") else np.ascontiguousarray(np.moveaxis(rgb, -1, 0))
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": axes})
    with pytest.raises(ImageError, match="found 3 frames or pages"):
        read_image(tmp_path / "stack.tif")


def _lut(color: int) -> np.ndarray:
    return np.stack([np.arange(256) if row == color else np.zeros(256) for row in range(3)]).astype(np.uint8)


def test_channels_of_imagej_are_in_the_order_of_their_colors(tmp_path: Path, rgb: np.ndarray) -> None:
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0))[[2, 0, 1]]
    metadata = {"axes": "CYX", "mode": "composite", "LUTs": [_lut(2), _lut(0), _lut(1)]}
    tifffile.imwrite(tmp_path / "bgr.tif", planes, imagej=True, metadata=metadata)
    np.testing.assert_array_equal(read_image(tmp_path / "bgr.tif"), rgb)
    tifffile.imwrite(tmp_path / "two.tif", planes, imagej=True, metadata=metadata | {"LUTs": [_lut(2)] * 3})
    with pytest.raises(ImageError, match="shown in red, green and blue"):
        read_image(tmp_path / "two.tif")


def test_a_page_that_is_a_mask_is_left_out(tmp_path: Path, rgb: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "masked.tif") as tiff:
        tiff.write(rgb, photometric="rgb")
        tiff.write(rgb[..., 0] > 9, photometric=4, subfiletype=4)
    np.testing.assert_array_equal(read_image(tmp_path / "masked.tif"), rgb)


def test_several_further_samples_are_left_out(tmp_path: Path, rgb: np.ndarray) -> None:
    values = np.dstack([rgb, np.zeros_like(rgb[..., :2])])
    tifffile.imwrite(tmp_path / "five.tif", values, photometric="rgb", extrasamples=["unspecified"] * 2)
    np.testing.assert_array_equal(read_image(tmp_path / "five.tif"), rgb)


def _profile(space: bytes, name: bytes, curves: tuple[bytes, ...], gamma: float) -> bytes:
    """A profile of the primaries of sRGB, or of gray, with a power curve, by hand from the ICC specification (v2)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79)
    tags = {b"desc": text + bytes(-len(text) % 4), b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    if space == b"RGB ":
        tags |= {b"rXYZ": xyz(0.43607, 0.22249, 0.01392), b"gXYZ": xyz(0.38515, 0.71687, 0.09708)}
        tags |= {b"bXYZ": xyz(0.14307, 0.06061, 0.7141)}
    tags |= {curve: b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0" for curve in curves}
    table, body = b"", b""
    for key, value in tags.items():
        table += key + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    head = (head + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + body


def _encoded(values: np.ndarray, gamma: float) -> np.ndarray:
    """sRGB 0..255 as values 0..1 with a power curve (IEC 61966-2-1)."""
    share = values / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear ** (1 / gamma))


def test_what_a_profile_does_decides_and_not_its_name(tmp_path: Path, rgb: np.ndarray) -> None:
    linear = _profile(b"RGB ", b"GIMP built-in Linear sRGB", (b"rTRC", b"gTRC", b"bTRC"), 1.0)
    stored = np.rint(_encoded(rgb, 1.0) * 255).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "linear.png", icc_profile=linear)
    bright = rgb.min(axis=2) > 60  # 8 bits of linear light have few levels in the dark
    found = read_image(tmp_path / "linear.png").astype(int)
    np.testing.assert_allclose(found[bright], rgb[bright].astype(int), atol=3)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", ["tif", "png"])
def test_a_profile_of_gray_samples_is_applied(tmp_path: Path, rgb: np.ndarray, deep: bool, kind: str) -> None:
    gray = rgb[..., 1]
    profile = _profile(b"GRAY", b"Gray Gamma 1.8", (b"kTRC",), 1.8)
    depth = np.uint16 if deep else np.uint8
    stored = np.rint(_encoded(gray, 1.8) * np.iinfo(depth).max).astype(depth)
    if kind == "tif":
        tifffile.imwrite(tmp_path / "gray", stored, photometric="minisblack", iccprofile=profile)
    else:
        Image.fromarray(stored).save(tmp_path / "gray", format="PNG", icc_profile=profile)
    np.testing.assert_allclose(read_image(tmp_path / "gray")[..., 0].astype(int), gray.astype(int), atol=3)


def test_a_profile_of_colors_is_applied_to_gray_samples(tmp_path: Path) -> None:
    profile = _profile(b"RGB ", b"linear", (b"rTRC", b"gTRC", b"bTRC"), 1.0)
    Image.new("L", (4, 4), 128).save(tmp_path / "gray.png", icc_profile=profile)
    assert read_image(tmp_path / "gray.png")[0, 0].tolist() == pytest.approx([188] * 3, abs=1)


def test_the_profile_of_a_jpeg_2000_file_is_applied(tmp_path: Path, rgb: np.ndarray) -> None:
    profile = _profile(b"RGB ", b"linear", (b"rTRC", b"gTRC", b"bTRC"), 1.0)
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (128, 60, 200)).save(buffer, "JPEG2000")
    content = buffer.getvalue()
    at = content.index(b"colr")
    own = int.from_bytes(content[at - 4 : at], "big")
    box = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    header = content.index(b"jp2h")
    grown = int.from_bytes(content[header - 4 : header], "big") + len(box) - own
    changed = content[: header - 4] + struct.pack(">I", grown) + content[header : at - 4] + box
    (tmp_path / "cell.jp2").write_bytes(changed + content[at - 4 + own :])
    assert read_image(tmp_path / "cell.jp2")[0, 0].tolist() == pytest.approx([188, 132, 229], abs=1)


def test_a_profile_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile, lost in (("whole", whole, False), ("cut", whole[:200], True), ("noise", b"\1" * 500, True)):
        Image.new("RGB", (8, 8), (200, 120, 60)).save(tmp_path / f"{name}.png", icc_profile=profile)
        found = read_decoded(tmp_path / f"{name}.png")
        assert found.pixels[0, 0].tolist() == [200, 120, 60]
        assert found.lost_profile is lost
        assert found.remarks() == (("the color profile of the file cannot be read: taken as sRGB",) if lost else ())


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF-jpeg2000", "TIFF-webp", "JP2-16"])
def test_a_file_whose_end_is_zeros_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = BytesIO()
    if kind.startswith("TIFF"):
        tifffile.imwrite(buffer, noise, photometric="rgb", compression=kind.split("-")[1])
    elif kind == "JP2-16":
        buffer.write(imagecodecs.jpeg2k_encode(noise.astype(np.uint16) * 257, level=0))
    else:
        Image.fromarray(noise).save(buffer, format=kind, lossless=True)
    whole = buffer.getvalue()
    assert len(whole) > 2000
    path = tmp_path / "incomplete"
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_image(path), noise)
    path.write_bytes(whole[: int(len(whole) * share)].ljust(len(whole), b"\0"))
    with pytest.raises(ImageError):
        read_image(path)


def test_rows_that_are_missing_of_an_uncompressed_file_are_told(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "cell.bmp")
    whole = (tmp_path / "cell.bmp").read_bytes()
    assert read_decoded(tmp_path / "cell.bmp").remarks() == ()
    (tmp_path / "cell.bmp").write_bytes(whole[: len(whole) * 3 // 4].ljust(len(whole), b"\0"))
    found = read_decoded(tmp_path / "cell.bmp")
    assert black_rows(found.pixels) == 6  # the last rows of a BMP file are the upper ones
    assert found.remarks() == ("6 rows at an edge are black: padding, or an incomplete copy",)
    assert black_rows(np.zeros((4, 4, 3), np.uint8)) == 0
