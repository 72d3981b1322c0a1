import os
import shutil
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from restained_folder import hashes, log_of, outputs, picture, statuses

from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.provenance import SyntheticOrigin, read_origin
from hemabridge.imaging.scale import CropSpec
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models import open_model
from hemabridge.normalizers.square import SquareStandardizer
from hemabridge.workflows.standardize.standardize import standardize


def test_as_many_files_come_out_as_went_in_under_the_same_names(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    before = hashes(images)
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert outputs(tmp_path / "out") == set(before)
    assert statuses(done) == dict.fromkeys(before, "restained")
    assert done.count("restained") == len(done.rows) == 5
    assert [row.path for row in done.rows] == sorted(before)
    assert hashes(images) == before


def test_each_file_is_what_the_model_makes_of_it_in_its_own_size_and_format(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    standardize(small_snapshot, images, tmp_path / "out")
    model = SquareStandardizer(open_model(small_snapshot).cell_standardizer(), CropSpec(64, 32))
    for name in ("a.png", "ü.bmp", "b/d/Name with Blanks.TIF"):
        original, restained = read_image(images / name), read_image(tmp_path / "out" / name)
        np.testing.assert_array_equal(restained, model.standardize(original[None])[0])
        assert restained.shape == original.shape
        assert np.abs(restained.astype(int) - original).mean() > 5
    with Image.open(tmp_path / "out" / "b/c.jpg") as opened:
        assert (opened.format, opened.size) == ("JPEG", (40, 33))


def test_a_synthetic_image_stays_one_or_is_not_written(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    origin = SyntheticOrigin("a1" * 32, "b2" * 32, "x")
    for name in ("a.png", "b/c.jpg", "b/d/Name with Blanks.TIF"):
        write_image(images / name, picture(0), description=f"hemabridge image: {origin.as_text()};")
    (images / "ü.bmp").write_bytes((images / "a.png").read_bytes())
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert statuses(done)["ü.bmp"] == "failed"
    assert "expected a format that can store" in next(row.reason for row in done.rows if row.path == "ü.bmp")
    written = {path: read_origin(tmp_path / "out" / path) for path in statuses(done) if path != "ü.bmp"}
    assert written == {**dict.fromkeys(written, origin), "b/c.png": None}


def test_a_crop_says_how_large_the_cells_are(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    standardize(small_snapshot, images, tmp_path / "out", crop_px=32)
    original = read_image(images / "a.png")[None]
    square = original[:, :32, 4:36]
    at_its_own_scale = open_model(small_snapshot).cell_standardizer().standardize(square)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png")[:32, 4:36], at_its_own_scale)
    scaled = open_model(small_snapshot, crop_px=128).standardizer()
    assert isinstance(scaled, SquareStandardizer)
    assert scaled.crop == CropSpec(128, 32)


def test_bad_files_get_a_row_and_do_not_stop_the_job(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    whole = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").touch()
    (images / "text.png").write_text("no image")
    Image.new("RGB", (40, 40)).save(images / "still.gif")
    (images / "dangling.png").symlink_to(images / "nowhere.png")
    (images / "folder.png").symlink_to(images / "b")
    os.mkfifo(images / "pipe.png")
    Image.new("RGB", (1, 1)).save(images / "dot.png")
    Image.new("RGB", (400, 1)).save(images / "line.png")
    (images / "notes.txt").write_text("mine")
    (images / "no_suffix").touch()
    done = standardize(small_snapshot, images, tmp_path / "out")
    failed = {row.path: row.reason for row in done.rows if row.status == "failed"}
    assert set(failed) == {
        *("cut.png", "dangling.png", "dot.png", "empty.jpg", "folder.png", "line.png", "pipe.png", "still.gif"),
        "text.png",
    }
    assert "the file is empty" in failed["empty.jpg"]
    assert failed["still.gif"] == (
        "expected .bmp, .dcm, .dicom, .jfif, .jp2, .jpe, .jpeg, .jpg, .png, .tif, .tiff, .webp, got .gif, which is "
        "read but not written; convert the image to PNG"
    )
    assert "found nothing" in failed["dangling.png"]
    assert "expected an image of at least 8 x 8 pixels, to show a cell, got 1 x 1; " in failed["dot.png"]
    assert "got 400 x 1; " in failed["line.png"]
    assert all(failed.values())
    skipped = {row.path: row.reason for row in done.rows if row.status == "skipped"}
    assert skipped == {
        "no_suffix": "left out: not images by name",
        "notes.txt": "left out: not images by name",
    }
    assert done.count("restained") == 5
    assert len(done.rows) == 16 == len(log_of(tmp_path / "out"))
    assert len(outputs(tmp_path / "out")) == 5


@pytest.mark.parametrize("side", [8, 9, 10, 16])
def test_small_images_are_seen_in_a_square_as_in_training(small_snapshot: Path, tmp_path: Path, side: int) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(0, side, 50)).save(tmp_path / "in" / "a.png")
    done = standardize(small_snapshot, tmp_path / "in", tmp_path / "out")
    assert done.rows[0].status == "restained"
    assert read_image(tmp_path / "out" / "a.png").shape == (side, 50, 3)


def test_too_little_memory_for_one_image_does_not_stop_the_job(
    small_snapshot: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SquareStandardizer.standardize

    def standardize_little(self: SquareStandardizer, given: UInt8Image) -> UInt8Image:
        if given.shape[1] > 34:
            raise RuntimeError("not enough memory: you tried to allocate")
        return original(self, given)

    monkeypatch.setattr(SquareStandardizer, "standardize", standardize_little)
    done = standardize(small_snapshot, images, tmp_path / "out")
    large = ("b/d/Name with Blanks.TIF", "ü.bmp")
    assert statuses(done) == dict.fromkeys(hashes(images), "restained") | dict.fromkeys(large, "failed")


def test_images_of_every_kind_are_taken(small_snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rgb = picture(0, 24, 40)
    tifffile.imwrite(folder / "deep.tif", rgb.astype(np.uint16) * 257, photometric="rgb")
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(rgb.astype(np.uint16) * 257))
    Image.fromarray(rgb).quantize(8).save(folder / "palette.png")
    Image.fromarray(rgb[..., 0]).save(folder / "gray.png")
    Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(folder / "turned.jpg", exif=exif)
    done = standardize(small_snapshot, folder, tmp_path / "out")
    assert set(statuses(done).values()) == {"restained"}
    shapes = {path.name: read_image(path).shape for path in (tmp_path / "out").iterdir() if path.name[0] not in ".s"}
    assert shapes.pop("turned.jpg") == (40, 24, 3)  # upright, as it is seen
    assert set(shapes.values()) == {(24, 40, 3)}
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "deep.tif"), read_image(tmp_path / "out" / "deep.png"))
    with Image.open(tmp_path / "out" / "turned.jpg") as opened:
        assert dict(opened.getexif()) == {}


def test_a_file_that_vanishes_gets_a_row(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    def remove_the_next(_label: str, done: int, _total: int) -> None:
        if done == 1:
            (images / "b" / "c.jpg").unlink()

    done = standardize(small_snapshot, images, tmp_path / "out", progress=remove_the_next)
    assert statuses(done)["b/c.jpg"] == "failed"
    assert done.count("restained") == 4


def test_progress_is_told_of_each_file(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    standardize(small_snapshot, images, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [("re-staining", number, 5) for number in range(1, 6)]


def test_what_index_leaves_out_is_not_restained(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    for name in ("_masks/1.png", "@eaDir/1.png", "._1.png"):
        write_image(images / name, np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "outside.png").write_bytes((images / "._1.png").read_bytes())
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    done = standardize(small_snapshot, images, tmp_path / "out")
    rows = {row.path: (row.status, row.reason) for row in done.rows}
    assert rows["_masks/"] == ("skipped", "left out: beginning with _")
    assert rows["@eaDir/"] == ("skipped", "left out: of the operating system or storage")
    assert rows["._1.png"] == ("skipped", "left out: of the operating system or storage")
    assert rows["link.png"][0] == "failed"
    assert "link that leaves" in rows["link.png"][1]
    assert not {"_masks", "@eaDir", "._1.png", "link.png"} & {path.name for path in (tmp_path / "out").iterdir()}


def test_a_whole_field_is_restained_with_a_remark(drawn_field: Path, small_snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_image(folder / "cell.png", picture(0))
    shutil.copyfile(drawn_field, folder / "field.png")
    told = []
    done = standardize(small_snapshot, folder, tmp_path / "out", progress=lambda *what: told.append(what))
    assert ["hemabridge find" in row.remark for row in done.rows] == [False, True]
    assert [row.status for row in done.rows] == ["restained", "restained"]
    assert [label for label, _, total in told if total == 0 and "1 of 2 images" in label] != []


def test_the_start_loads_nothing_slow_that_a_normalizer_does_not_need() -> None:
    program = """
import sys
import hemabridge.workflows.standardize.standardize
print(sorted({"polars", "scipy.optimize", "scipy.cluster", "skimage.color", "onnxruntime", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
