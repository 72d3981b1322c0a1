"""JPEG without Pillow's copies: the pixels and the bytes are Pillow's, and so is what is refused."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hemabridge.imaging.decoding import decode
from hemabridge.imaging.files import encoded_image
from hemabridge.imaging.whole_file import ends_with_its_scan

OPTIONS = (
    {},
    {"optimize": True},
    {"progressive": True},
    {"restart_marker_blocks": 2},
    {"subsampling": "4:2:0"},
    {"subsampling": "4:2:2", "comment": b"\xff\xda inside"},
    {"keep_rgb": True},
    {"dpi": (300, 300)},
)


def pictures(rng, count):
    for number in range(count):
        height, width = rng.integers(1, 70, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        yield np.sort(pixels, axis=0) if number % 2 else pixels


def as_jpeg(pixels, **options):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def by_pillow(content):
    try:
        with Image.open(BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


def by_us(content):
    try:
        return decode(BytesIO(content), "a.jpg").pixels
    except (OSError, SyntaxError, ValueError):
        return None


def check_alike(content):
    wanted, found = by_pillow(content), by_us(content)
    assert (wanted is None) == (found is None)
    if wanted is not None:
        np.testing.assert_array_equal(found, wanted)
        assert found.flags.writeable
        assert found.flags.c_contiguous


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_pixels_are_those_of_pillow(options):
    for pixels in pictures(np.random.default_rng(0), 12):
        check_alike(as_jpeg(pixels, **options))


@pytest.mark.parametrize("damage", ["changed", "left out", "cut", "cut with an end"])
def test_a_damaged_file_is_refused_where_pillow_refuses_it(damage):
    rng = np.random.default_rng(1)
    refused = 0
    for number, pixels in enumerate(pictures(rng, 240)):
        content = bytearray(as_jpeg(pixels, **OPTIONS[number % len(OPTIONS)]))
        place = int(rng.integers(2, len(content) - 2))
        if damage == "changed":
            content[place] = rng.integers(0, 256)
        elif damage == "left out":
            del content[place : min(place + 20, len(content) - 2)]
        else:
            content = content[:place] + (b"\xff\xd9" if "end" in damage else b"")
        check_alike(bytes(content))
        refused += by_us(bytes(content)) is None
    assert refused > 0


def test_files_that_pillow_must_decode_are_told_from_others():
    content = as_jpeg(next(pictures(np.random.default_rng(2), 1)))
    start = content.index(b"\xff\xda")
    assert ends_with_its_scan(content)
    longer = b"\xff\xe0\xff\xf0"  # a marker whose length leads beyond the file
    for other in (b"", content[:start], content[:-1], content + b"\0", content[:-2] + longer + content[-2:]):
        assert not ends_with_its_scan(other)


def test_an_orientation_is_applied():
    pixels = next(pictures(np.random.default_rng(3), 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = by_us(as_jpeg(pixels, exif=exif))
    np.testing.assert_array_equal(found, np.rot90(by_us(as_jpeg(pixels)), -1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (17, 3), (33, 65), (300, 2)])
def test_the_bytes_are_those_of_pillow(tmp_path, shape):
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for pixels in (noise, np.sort(noise, axis=0), np.full_like(noise, 200), np.repeat(noise[..., :1], 3, axis=2)):
        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling="4:4:4")
        assert bytes(encoded_image(tmp_path / "a.jpg", pixels)) == file.getvalue()
