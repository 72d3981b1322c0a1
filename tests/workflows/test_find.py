"""`find`: every field has a row, every cell a crop, and a stopped call goes on."""

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.draw import disk

import hemabridge as hb
from hemabridge.data.manifest import read_manifest
from hemabridge.errors import InputError
from hemabridge.fields.sharpness import MOST_EDGE_UM
from hemabridge.imaging.files import read_image
from hemabridge.workflows.find import find as module
from hemabridge.workflows.find import first_look, search
from hemabridge.workflows.find.find import find

GLASS, RED, NUCLEUS = (230, 225, 220), (190, 140, 140), (90, 40, 130)
UM = 0.1
REDS = [(60, 60), (60, 200), (60, 330), (240, 60), (240, 330)]


def draw_field(path, nuclei):
    """Write a field of 400 x 300 pixels of 0.1 um with five red cells, and nuclei 8 um wide at (x, y)."""
    image = np.full((300, 400, 3), GLASS, np.uint8)
    for row, column in REDS:
        image[disk((row, column), 37.5, shape=image.shape[:2])] = RED
    for x, y in nuclei:
        image[disk((y, x), 40, shape=image.shape[:2])] = NUCLEUS
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def fields(tmp_path):
    folder = tmp_path / "fields"
    draw_field(folder / "one.png", [(200, 180)])
    draw_field(folder / "slide 2" / "two.png", [(140, 150), (10, 150)])
    draw_field(folder / "no leukocyte.png", [])
    Image.new("RGB", (400, 300), GLASS).save(folder / "glass.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    return folder


def tables(out):
    return pl.read_csv(out / "cells.csv"), pl.read_csv(out / "fields.csv")


def test_fields_of_another_folder_are_not_mixed_with_those_of_the_first(fields, tmp_path):
    out = tmp_path / "out"
    find(fields, out)
    draw_field(tmp_path / "other" / "three.png", [(200, 180)])
    draw_field(tmp_path / "other" / "one.png", [(140, 150)])
    with pytest.raises(InputError, match="with those of other images; name another one"):
        find(tmp_path / "other", out)
    (fields / "slide 2" / "two.png").unlink()
    find(fields, out)
    cells, _ = tables(out)
    assert {path.relative_to(out).as_posix() for path in (out / "cells").rglob("*.png") if path.is_file()} == set(
        cells["path"]
    )
    assert not (out / "_overlays" / "slide 2" / "two.png.png").exists()


def test_every_file_has_one_row_that_says_what_became_of_it(fields, tmp_path):
    done = find(fields, tmp_path / "out")
    _, rows = tables(tmp_path / "out")
    told = {row["field"]: (row["status"], row["leukocytes"], row["border"]) for row in rows.to_dicts()}
    assert told == {
        "one.png": ("searched", 1, 0),
        "slide 2/two.png": ("searched", 2, 1),
        "no leukocyte.png": ("searched", 0, 0),
        "glass.png": ("empty", 0, 0),
        "broken.png": ("unreadable", 0, 0),
        "notes.txt": ("left out", 0, 0),
    }
    assert all(row["reason"] for row in rows.to_dicts() if row["status"] != "searched")
    assert (done.cells, done.count("searched"), done.count("unreadable")) == (3, 3, 1)


def test_images_of_single_cells_are_said_to_be_that_already(tmp_path):
    for number in range(4):
        draw_field(tmp_path / "my cells" / f"{number}.png", [(190 + 5 * number, 150)])
    caution = find(tmp_path / "my cells", tmp_path / "out", um_per_px=UM).caution
    assert "single cells already, and no whole fields: 4 of 4 have a leukocyte in their middle" in caution
    assert "they are 40 um wide" in caution
    assert f"hemabridge run RUN '{tmp_path / 'my cells'}' OUT" in caution


@pytest.mark.parametrize(("um", "nucleus"), [(0.11, (200, 150)), (UM, (110, 150)), (UM, (200, 60))])
def test_wide_images_and_those_with_a_cell_aside_are_fields(tmp_path, um, nucleus):
    for number in range(4):
        draw_field(tmp_path / "fields" / f"{number}.png", [nucleus])
    found = find(tmp_path / "fields", tmp_path / "out", um_per_px=um)
    assert (found.cells, found.caution) == (4, "")


def test_crops_have_the_nucleus_in_their_middle_and_the_stated_width(fields, tmp_path):
    out = tmp_path / "out"
    find(fields, out, site="ours", um_per_px=UM, crop_um=16.0)
    manifest = read_manifest(out / "manifest.csv")
    assert set(manifest.column("site")) == {"ours"}
    for path in manifest.paths():
        crop = read_image(path)
        assert crop.shape == (160, 160, 3)
        assert crop[80, 80].tolist() == list(NUCLEUS)
        assert crop[80, 80 + 50].tolist() != list(NUCLEUS)
    cells, _ = tables(out)
    assert cells["path"].to_list() == manifest.column("path")
    one = cells.filter(pl.col("field") == "one.png").to_dicts()[0]
    assert (one["x"], one["y"], one["diameter_um"]) == pytest.approx((200, 180, 8), abs=1.5)
    assert one["cell_um"] == pytest.approx(8, abs=1)  # this one has no cytoplasm
    assert (one["um_per_px"], one["border"], one["cluster"]) == (UM, False, False)


def test_each_searched_field_has_a_picture_in_a_folder_that_other_commands_leave_out(fields, tmp_path):
    out = tmp_path / "out"
    find(fields, out)
    _, rows = tables(out)
    for name, overlay in rows.select("field", "overlay").rows():
        assert (overlay == "") == (name in ("broken.png", "notes.txt"))
        if overlay:
            assert overlay.startswith("_")
            assert read_image(out / overlay).shape[1] == 640
    with_ring = read_image(out / "_overlays" / "one.png.png")
    assert (with_ring == (0, 114, 178)).all(axis=2).any()


def test_a_finished_field_is_not_searched_again_unless_a_crop_is_gone(fields, tmp_path, monkeypatch):
    out, searched = tmp_path / "out", []

    real = search.find_cells_at

    def counted(image, scale):
        searched.append(image.shape)
        return real(image, scale)

    find(fields, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(search, "find_cells_at", counted)
    find(fields, out)
    assert searched == []
    (out / "cells" / "one.png" / "001.png").unlink()
    find(fields, out)
    assert len(searched) == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    find(fields, out, crop_um=20.0)
    assert len(searched) == 5


def test_a_stopped_call_leaves_no_table_and_the_same_call_goes_on(fields, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    find(fields, whole)
    real, calls = module.draw_overlay, []

    def stopped(image, found):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(image, found)

    monkeypatch.setattr(module, "draw_overlay", stopped)
    with pytest.raises(KeyboardInterrupt):
        find(fields, out)
    assert not (out / "manifest.csv").exists()
    find(fields, out)
    assert len(calls) == 5
    for name in ("manifest.csv", "cells.csv", "fields.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_changed_field_is_searched_again_and_its_old_crops_are_gone(fields, tmp_path):
    out = tmp_path / "out"
    find(fields, out)
    draw_field(fields / "slide 2" / "two.png", [(200, 150)])
    find(fields, out)
    assert [path.name for path in (out / "cells" / "slide 2" / "two.png").iterdir()] == ["001.png"]
    assert len(read_manifest(out / "manifest.csv")) == 2


def test_the_manifest_states_the_crop_at_the_scale_of_each_field(tmp_path):
    draw_field(tmp_path / "fields" / "a.png", [(200, 180)])
    draw_field(tmp_path / "fields" / "b.png", [(140, 150)])
    find(tmp_path / "fields", tmp_path / "out")
    crops = set(read_manifest(tmp_path / "out" / "manifest.csv").column("crop_px"))
    assert len(crops) == 1
    assert crops.pop() == pytest.approx(185, rel=0.04)
    with Image.open(tmp_path / "fields" / "a.png") as image:
        image.resize((800, 600)).save(tmp_path / "fields" / "a.png")
    find(tmp_path / "fields", tmp_path / "out")
    assert read_manifest(tmp_path / "out" / "manifest.csv").column("crop_px") == pytest.approx([368, 184], rel=0.04)


def test_without_a_leukocyte_there_is_no_manifest(tmp_path):
    draw_field(tmp_path / "fields" / "a.png", [])
    find(tmp_path / "fields", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.csv").exists()
    assert tables(tmp_path / "out")[0].height == 0


def test_wrong_folders_and_settings_are_refused(fields, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"got thesis\.txt"):
        find(fields, foreign)
    with pytest.raises(InputError, match="none is in the other"):
        find(fields, fields / "out")
    with pytest.raises(InputError, match="got nothing"):
        find(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="um_per_px above 0"):
        find(fields, tmp_path / "out", um_per_px=-1.0)
    with pytest.raises(InputError, match="crop_um of at least 5"):
        find(fields, tmp_path / "out", crop_um=float("nan"))
    with pytest.raises(InputError, match="--site"):
        find(fields, tmp_path / "out", site="=1")
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_the_scale_of_a_file_is_taken_and_checked_against_the_red_cells(tmp_path):
    image = np.full((480, 640, 3), GLASS, np.uint8)
    for place in range(15):
        image[disk((60 + 120 * (place % 4), 70 + 160 * (place // 4)), 37.5, shape=image.shape[:2])] = RED
    image[disk((420, 570), 40)] = NUCLEUS
    fields = tmp_path / "fields"
    fields.mkdir()
    for name, um_per_px in [("right.tif", 0.11), ("wrong.tif", 0.3), ("screen.tif", 25_400 / 72)]:
        Image.fromarray(image).save(fields / name, dpi=(25_400 / um_per_px, 25_400 / um_per_px))
    find(fields, tmp_path / "out")
    rows = {row["field"]: row for row in tables(tmp_path / "out")[1].to_dicts()}
    assert [rows[name]["scale_from"] for name in ("right.tif", "wrong.tif", "screen.tif")] == [
        "file",
        "red cells",
        "red cells",
    ]
    assert rows["right.tif"]["um_per_px"] == pytest.approx(0.11, rel=0.001)
    assert rows["wrong.tif"]["um_per_px"] == pytest.approx(0.1, rel=0.04)
    assert "at which its red cells would be 22" in rows["wrong.tif"]["remark"]
    assert rows["right.tif"]["remark"] == rows["screen.tif"]["remark"] == ""


def draw_nucleus(path, reds=()):
    """Write a field of a nucleus of 80 pixels, with a few red cells."""
    image = np.full((300, 400, 3), GLASS, np.uint8)
    for place in reds:
        image[disk(place, 37.5)] = RED
    image[disk((150, 200), 40)] = NUCLEUS
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path)


def test_the_scale_of_each_field_comes_from_the_red_cells_of_all(tmp_path):
    for number in range(3):
        draw_field(tmp_path / "fields" / f"{number}.png", [(200, 180)])
    draw_nucleus(tmp_path / "fields" / "nucleus.png", REDS[:2])
    find(tmp_path / "fields", tmp_path / "out")
    *sure, poor = tables(tmp_path / "out")[1].sort("field").to_dicts()
    assert {row["um_per_px"] for row in sure} == {poor["um_per_px"]}
    assert (poor["scale_from"], poor["leukocytes"]) == ("other fields", 1)
    assert [row["scale_from"] for row in sure] == ["red cells"] * 3
    assert {row["remark"] for row in (*sure, poor)} <= {"", None}  # its nucleus says about the same


def test_a_field_that_differs_takes_the_scale_of_the_others_with_a_remark(tmp_path):
    for number in range(3):
        draw_field(tmp_path / "fields" / f"{number}.png", [(200, 180)])
    draw_nucleus(tmp_path / "few.png", REDS[:3])
    Image.open(tmp_path / "few.png").resize((640, 480)).save(tmp_path / "fields" / "few.png")
    find(tmp_path / "fields", tmp_path / "out")
    *sure, odd = tables(tmp_path / "out")[1].sort("field").to_dicts()
    assert {row["um_per_px"] for row in sure} == {odd["um_per_px"]}
    assert odd["scale_from"] == "other fields"
    assert "um per pixel; the scale of the other fields was taken" in odd["remark"]


def test_fields_that_are_added_are_looked_at_and_others_are_searched_again_if_that_changes_the_scale(
    tmp_path, monkeypatch
):
    looked, searched = [], []
    look, at = first_look.checked_scale, search.find_cells_at
    monkeypatch.setattr(first_look, "checked_scale", lambda field: looked.append(field) or look(field))
    monkeypatch.setattr(search, "find_cells_at", lambda *given: searched.append(given) or at(*given))
    for number in range(3):
        draw_field(tmp_path / "fields" / f"{number}.png", [(200, 180)])
    find(tmp_path / "fields", tmp_path / "out")
    assert (len(looked), len(searched)) == (3, 3)
    draw_field(tmp_path / "fields" / "again.png", [(200, 180)])
    find(tmp_path / "fields", tmp_path / "out")
    assert len(looked) == 4
    assert len(searched) in (4, 7)
    assert tables(tmp_path / "out")[1]["um_per_px"].n_unique() == 1


def test_a_field_without_red_cells_has_a_remark_on_its_rough_scale(tmp_path):
    draw_nucleus(tmp_path / "fields" / "nucleus.png")
    find(tmp_path / "fields", tmp_path / "out")
    (rough,) = tables(tmp_path / "out")[1].to_dicts()
    assert (rough["scale_from"], rough["leukocytes"]) == ("nuclei", 1)
    limits = f"{rough['um_per_px_low']:.2g} to {rough['um_per_px_high']:.2g} um per pixel, from nuclei"
    assert rough["remark"] == f"the scale is rough: {limits}; state it if you know it (um_per_px, --um-per-px)"
    find(tmp_path / "fields", tmp_path / "out", um_per_px=UM)
    assert tables(tmp_path / "out")[1]["remark"].fill_null("").to_list() == [""]


def test_a_blurred_cell_of_a_sharp_field_is_marked(tmp_path):
    draw_field(tmp_path / "fields" / "one.png", [(100, 150), (300, 150)])
    image = np.asarray(Image.open(tmp_path / "fields" / "one.png"), np.float32)
    soft = gaussian_filter(image, (12, 12, 0))  # 1.2 um
    image[:, 200:] = soft[:, 200:]
    Image.fromarray(image.round().astype(np.uint8)).save(tmp_path / "fields" / "one.png")
    find(tmp_path / "fields", tmp_path / "out", um_per_px=UM)
    cells, rows = tables(tmp_path / "out")
    cells = cells.sort("x")
    assert (cells["blurred"].to_list(), rows["blurred_cells"].to_list()) == ([False, True], [1])
    assert cells["edge_um"].to_list()[0] < 1 < MOST_EDGE_UM < cells["edge_um"].to_list()[1]
    assert rows["status"].to_list() == ["searched"]
    ring = read_image(tmp_path / "out" / rows["overlay"][0])[240]  # through both centers, at 1.6 times the field's size
    assert (0, 114, 178) in map(tuple, ring[35:45].tolist())
    assert (0, 0, 0) in map(tuple, ring[595:605].tolist())
    searched = hb.find_cells(read_image(tmp_path / "fields" / "one.png"), UM)
    by_place = sorted(searched.leukocytes, key=lambda cell: cell.x)
    assert [cell.blurred for cell in by_place] == cells["blurred"].to_list()
    assert [cell.edge_um for cell in by_place] == pytest.approx(cells["edge_um"].to_list(), abs=1e-3)
    assert searched.blurred_cells == 1
