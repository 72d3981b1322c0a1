import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hemabridge.errors import ImageError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.provenance import (
    SEARCHED_BYTES,
    SyntheticOrigin,
    mark_of,
    origin_of_text,
    read_origin,
    write_synthetic,
)

ORIGIN = SyntheticOrigin(model_sha256="a1" * 32, source_sha256="b2" * 32, recipe="Prüfung, Station 3")
TEXT = f"synthetic model={'a1' * 32} source={'b2' * 32} recipe=Pr%C3%BCfung%2C%20Station%203"


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["cell.png", "cell.tif", "cell.TIFF"])
def test_pixels_and_origin_are_read_back_and_nothing_else_is_written(
    tmp_path: Path, rgb: np.ndarray, name: str
) -> None:
    write_synthetic(tmp_path / "new" / name, rgb, ORIGIN)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / name), rgb)
    assert read_origin(tmp_path / "new" / name) == ORIGIN
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_other_programs_find_the_mark_in_its_place(tmp_path: Path, rgb: np.ndarray) -> None:
    write_synthetic(tmp_path / "cell.png", rgb, ORIGIN)
    write_synthetic(tmp_path / "cell.tif", rgb, ORIGIN)
    with Image.open(tmp_path / "cell.png") as image:
        assert image.text == {"Description": f"hemabridge image: {TEXT};"}
        assert image.getexif()[270] == f"hemabridge image: {TEXT};"
    with tifffile.TiffFile(tmp_path / "cell.tif") as tiff:
        assert tiff.pages[0].tags["ImageDescription"].value == f"hemabridge image: {TEXT};"


@pytest.mark.parametrize("name", ["cell.png", "cell.tif"])
@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp"])
def test_the_mark_survives_another_format_when_its_metadata_are_copied(
    tmp_path: Path, rgb: np.ndarray, name: str, suffix: str
) -> None:
    write_synthetic(tmp_path / name, rgb, ORIGIN)
    with Image.open(tmp_path / name) as image:
        image.save(tmp_path / f"again{suffix}", exif=image.getexif())
    assert read_origin(tmp_path / f"again{suffix}") == ORIGIN


def test_a_program_that_drops_metadata_drops_the_mark(tmp_path: Path, rgb: np.ndarray) -> None:
    write_synthetic(tmp_path / "cell.png", rgb, ORIGIN)
    Image.fromarray(read_image(tmp_path / "cell.png")).save(tmp_path / "bare.png")
    assert read_origin(tmp_path / "bare.png") is None
    assert mark_of(tmp_path / "bare.png") == ""


def test_what_is_made_of_a_marked_file_keeps_the_mark(tmp_path: Path, rgb: np.ndarray) -> None:
    write_synthetic(tmp_path / "cell.png", rgb, ORIGIN)
    for name in ("restained.jpg", "restained.tif", "restained.png"):
        write_image(tmp_path / name, rgb, description=mark_of(tmp_path / "cell.png"))
        assert read_origin(tmp_path / name) == ORIGIN


def test_what_stands_behind_the_mark_is_not_taken_for_the_name(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"hemabridge image: synthetic model=unknown source=unknown recipe=blast;x")
    assert read_origin(tmp_path / "x.png") == SyntheticOrigin(recipe="blast")


def test_the_text_of_a_manifest_and_back() -> None:
    assert ORIGIN.as_text() == TEXT
    assert origin_of_text(TEXT) == ORIGIN
    assert origin_of_text("") is None
    assert origin_of_text("synthetic") == SyntheticOrigin()
    assert SyntheticOrigin().as_text() == "synthetic model=unknown source=unknown recipe=unknown"
    assert origin_of_text(SyntheticOrigin().as_text()) == SyntheticOrigin()
    with pytest.raises(ImageError, match="origin of a synthetic image, or nothing, got 'real'"):
        origin_of_text("real")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=25).filter(
        lambda name: name.isprintable() and name != "unknown"
    )
)
def test_any_short_printable_name_of_a_recipe_survives(recipe: str) -> None:
    origin = SyntheticOrigin(recipe=recipe)
    assert origin_of_text(origin.as_text()) == origin
    assert origin.as_text().isascii()


@pytest.mark.parametrize("recipe", ["two\nlines", "\0", "x" * 301, "ä" * 51])
def test_other_names_of_a_recipe_are_refused(recipe: str) -> None:
    with pytest.raises(ImageError, match="name of printable characters, at most 300"):
        SyntheticOrigin(recipe=recipe)


@pytest.mark.parametrize("field", ["model_sha256", "source_sha256"])
@pytest.mark.parametrize("digest", ["abc", "A1" * 32, "a1" * 33, "a1" * 31 + "a\n"])
def test_wrong_hashes_are_refused(field: str, digest: str) -> None:
    with pytest.raises(ImageError, match="64 lower-case hexadecimal digits"):
        SyntheticOrigin(**{field: digest})


def test_formats_that_cannot_keep_an_origin_are_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    for name in ("cell.jpg", "cell.bmp", "cell"):
        with pytest.raises(ImageError, match=r"expected \.png, \.tif, \.tiff for a synthetic image"):
            write_synthetic(tmp_path / name, rgb, ORIGIN)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", None),
        (b"synthetic", None),
        (b"hemabridge image: real", None),
        (b"hemabridge image: synthetic", SyntheticOrigin()),
        (b"hemabridge image: synthetic model=zz source=unknown recipe=x", SyntheticOrigin()),
        (f"hemabridge image: {TEXT[:-20]}".encode() + b"\0", SyntheticOrigin()),
        (b"\xff" * 999 + f"hemabridge image: {TEXT};".encode() + b"\xff", ORIGIN),
        (
            b"hemabridge image: synthetic model=unknown source=" + b"c3" * 32 + b" recipe=%00%0A;",
            SyntheticOrigin(source_sha256="c3" * 32),
        ),
        (b"hemabridge image: synthetic model=unknown source=unknown recipe=" + b"%FF" * 100 + b";", SyntheticOrigin()),
    ],
    ids=["empty", "no mark", "real", "no details", "no hash", "cut", "within others", "control characters", "no UTF-8"],
)
def test_damaged_marks_are_still_marks(tmp_path: Path, content: bytes, expected: SyntheticOrigin | None) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert read_origin(tmp_path / "x.png") == expected


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.png"
    path.write_bytes(content)
    assert read_origin(path) is None
    path.write_bytes(b"hemabridge image: synthetic model=" + content)
    found = read_origin(path)
    assert found is not None
    assert origin_of_text(found.as_text()) == found


def test_of_huge_files_the_ends_are_searched_and_no_other_kind_of_file_is_waited_for(tmp_path: Path) -> None:
    for name, offset, expected in (
        ("start", 0, ORIGIN),
        ("end", 3 * SEARCHED_BYTES, ORIGIN),
        ("middle", SEARCHED_BYTES, None),
    ):
        with (tmp_path / name).open("wb") as file:
            file.seek(offset)
            file.write(f"hemabridge image: {TEXT};".encode())
            file.truncate(3 * SEARCHED_BYTES + 400)
        assert read_origin(tmp_path / name) == expected
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, tmp_path / "nothing"):
        assert read_origin(path) is None
