"""Samples of more than 8 bits are scaled by the depth that they hold."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from hemabridge.imaging.files import read_decoded, read_image


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
