"""A whole field is noticed where a command expects single cells, and a cell is not taken for one."""

import numpy as np
import pytest
from PIL import Image

from hemabridge.data.cells import UNKNOWN
from hemabridge.data.new_cells import NewCrop, list_new_cells, read_new_cells
from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells
from hemabridge.fields.field_scale import stated_scale
from hemabridge.fields.find_cells import find_cells_at
from hemabridge.fields.whole_field import FieldCheck, is_whole_field
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.found_scale import FoundScale, read_scale
from hemabridge.progress import silent


def resized(image, factor):
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((round(width * factor), round(height * factor))))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_a_field_is_noticed_at_any_size(drawn_field, factor):
    assert is_whole_field(resized(read_image(drawn_field), factor))


def test_a_crop_around_its_cell_is_none(drawn_field):
    field = read_image(drawn_field)
    crop = np.pad(field, ((60, 0), (90, 0), (0, 0)), mode="edge")[:320, :320]  # the cell is at (160, 160) now
    assert not is_whole_field(crop)
    assert not is_whole_field(resized(crop, 2))


def test_a_crop_whose_blue_shows_nothing_is_judged_all_the_same(drawn_field):
    field = read_image(drawn_field).copy()
    field[..., 2] = 200  # a camera whose blue is clipped: neither red cells nor nuclei lose light in it
    crop = np.pad(field, ((60, 0), (90, 0), (0, 0)), mode="edge")[:320, :320]
    assert is_whole_field(field)
    assert not is_whole_field(crop)


@pytest.mark.parametrize("channels", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("value", [0, 255])
def test_a_channel_that_shows_nothing_stops_no_search(drawn_field, channels, value):
    field = read_image(drawn_field).copy()
    field[..., list(channels)] = value
    for image in (field, field[:200, :200], np.rint(255.0 - field).astype(np.uint8)):
        assert is_whole_field(image) in (True, False)
        found = find_cells_at(image, stated_scale(0.15))
        assert all(0 <= cell.score <= 1 and np.isfinite(cell.diameter_um) for cell in found.leukocytes)


FEW = ("clinic-like", "dark-blurred")


@pytest.mark.parametrize(
    "hospital", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in sorted(HOSPITALS)]
)
def test_simulated_cells_are_none(hospital):
    cells, _ = simulate_cells(CLASSES, 1, HOSPITALS[hospital], 3, 240)
    assert [name for name, cell in zip(CLASSES, cells, strict=True) if is_whole_field(cell)] == []


def test_what_is_far_too_large_for_a_cell_is_a_field_and_what_is_too_small_is_none():
    assert is_whole_field(np.full((2000, 2500, 3), 230, np.uint8))
    assert not is_whole_field(np.full((150, 640, 3), 230, np.uint8))
    assert not is_whole_field(np.full((480, 640, 3), 230, np.uint8))


def test_all_images_of_a_size_are_fields_if_many_of_them_are(drawn_field, tmp_path):
    field = read_image(drawn_field)
    centered = np.roll(field, (140, 250), axis=(0, 1))  # its leukocyte is in the middle: by itself taken for a cell
    cell = field[20:180, 0:160]
    assert not is_whole_field(resized(centered, 0.9)[:, 70:470])
    paths = []
    for number, image in enumerate([field, field, centered, centered, cell, cell]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    check = FieldCheck.of([*paths, tmp_path / "gone.png"])
    assert (check.sampled, check.noticed, check.sizes) == (6, 4, {(480, 640)})
    assert "image of 640 x 480 pixels that is a whole field" in check.reason(centered)
    assert check.reason(cell) == check.remark(cell) == ""
    assert check.warning("here").startswith("warning: 4 of 6 images of here")
    assert FieldCheck.of(paths[4:]).warning("here") == ""


def test_new_cells_that_are_fields_are_failed_with_the_reason(drawn_field, tmp_path):
    field = read_image(drawn_field)
    Image.fromarray(field).save(tmp_path / "field.png")
    Image.fromarray(field[20:180, 0:160]).save(tmp_path / "cell.png")
    listed = list_new_cells(tmp_path, None, "new")
    check = FieldCheck.of(listed.manifest.paths())
    cells = read_new_cells(listed, ("monocyte",), NewCrop(120), 32, silent, check.reason)
    assert (cells.paths, cells.labels.tolist()) == (("cell.png",), [UNKNOWN])
    assert "hemabridge find" in cells.failed["field.png"]


def test_a_crop_of_find_is_never_taken_for_a_field(drawn_field, tmp_path):
    # Its neighbors may make it look like a field, and other files of its size may be fields.
    field = read_image(drawn_field)[:480, :480]
    for name, mark in [("crop.png", FoundScale(0.1, 480).mark), *((f"field-{n}.png", "") for n in range(3))]:
        write_image(tmp_path / name, field, description=mark)
    listed = list_new_cells(tmp_path, None, "here")
    check = FieldCheck.of(listed.manifest.paths())
    assert (check.sampled, check.noticed) == (4, 3)
    cells = read_new_cells(listed, ("monocyte",), NewCrop(120), 32, silent, check.reason)
    assert cells.paths == ("crop.png",)
    assert check.remark(field, tmp_path / "crop.png", read_scale(tmp_path / "crop.png")) == ""
