"""Images that show no single leukocyte in their middle are found, at every simulated hospital."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import perimeter_crofton

from hemabridge.data.manifest import make_manifest
from hemabridge.data.new_cells import Listed, NewCrop, read_at_sizes
from hemabridge.data.simulate import CLASSES, HOSPITALS, FieldSpec, paint_field, photograph_field, simulate_cells
from hemabridge.data.simulate.field_plan import FieldObject, FieldPlan
from hemabridge.fields.single_cell import (
    BETWEEN,
    EMPTY,
    RAGGED,
    SMALL,
    CellLimits,
    SeenObject,
    no_single_cell,
    reason_of,
    seen_objects,
)
from hemabridge.fields.stained_objects import mask_of
from hemabridge.imaging.files import write_image
from hemabridge.progress import silent

SPEC = FieldSpec(width_px=240, height_px=240, um_per_px=0.11)
CROP_PX = 151
"""Of these pictures: 16.6 um."""
LEUKOCYTES = ("neutrophil", "monocyte")
MIDDLE = 120 * SPEC.um_per_px
NUCLEUS = SeenObject(away_um=1.0, size_um2=40.0, ragged=1.2)
RED_CELLS = [("red_cell", -8.0, -6.0, 3.7), ("red_cell", 8.5, -7.0, 3.8), ("red_cell", -7.0, 9.0, 3.7)]


def picture(hospital, *objects):
    """A picture of 26 um of some objects, each kind, x and y from the middle and radius in um."""
    placed = [FieldObject(kind, MIDDLE + x, MIDDLE + y, um, 0, n) for n, (kind, x, y, um) in enumerate(objects)]
    plan = FieldPlan(SPEC, 0, "sparse", 0.5, 0.0, (0.5, 0.5), tuple(placed))
    return photograph_field(paint_field(plan), HOSPITALS[hospital])


FEW = ("clinic-like", "dark-blurred")
each_hospital = pytest.mark.parametrize(
    "hospital", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in sorted(HOSPITALS)]
)


@each_hospital
def test_a_cell_of_any_class_is_one(hospital):
    cells, _ = simulate_cells(CLASSES, 2, HOSPITALS[hospital], 3, 160)
    reasons = [no_single_cell(cell, 147, LEUKOCYTES) for cell in cells]
    assert sum(map(bool, reasons)) <= 1  # the cytoplasm of one monocyte is about as dark as its nucleus


@each_hospital
@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([], EMPTY),
        ([("red_cell", 0.0, 0.0, 3.7)], EMPTY),
        ([("platelet", 0.0, 0.0, 1.1)], SMALL),
        ([("platelet_clump", 0.0, 0.0, 2.4)], SMALL),
        ([("neutrophil", 10.5, 2.0, 6.0)], EMPTY),
        ([("lymphocyte", -6.0, 0.0, 4.4), ("lymphocyte", 6.0, 0.5, 4.4)], BETWEEN),
    ],
    ids=["glass", "red cell", "platelet", "clump", "beside", "between"],
)
def test_what_is_no_single_cell_is_found(hospital, objects, reason):
    found = no_single_cell(picture(hospital, *RED_CELLS, *objects), CROP_PX, LEUKOCYTES)
    assert found in ((EMPTY, SMALL) if reason == SMALL else (reason,))


@each_hospital
def test_a_blurred_cell_has_no_certain_class(hospital):
    cells, _ = simulate_cells(CLASSES, 1, HOSPITALS["near" if hospital == "dark-blurred" else hospital], 3, 160)
    soft = [gaussian_filter(cell, (160 / 18 * 1.2, 160 / 18 * 1.2, 0)) for cell in cells]  # 1.2 um
    sharp, found = ([no_single_cell(cell, 164, LEUKOCYTES) for cell in own] for own in (cells, soft))
    assert not any(reason.startswith("blurred: ") for reason in sharp)
    assert sum(reason.startswith("blurred: the edge") for reason in found) >= len(cells) - 1
    assert all(found)
    with_others = [no_single_cell(cell, 164, (*LEUKOCYTES, "platelet", "smudge")) for cell in soft]
    assert with_others == [reason if reason.startswith("blurred: ") else "" for reason in found]


def test_a_cell_that_touches_another_is_one_if_it_is_in_the_middle():
    pair = [("lymphocyte", 0.0, 0.0, 4.4), ("lymphocyte", 8.8, 0.5, 4.4)]
    assert no_single_cell(picture("clinic-like", *RED_CELLS, *pair), CROP_PX, LEUKOCYTES) == ""


def test_a_burst_nucleus_is_more_ragged_than_a_whole_one():
    burst = picture("clinic-like", *RED_CELLS, ("smudge", 0.0, 0.0, 6.5))
    whole = picture("clinic-like", *RED_CELLS, ("lymphocyte", 0.0, 0.0, 4.4))
    ragged, smooth = (seen_objects(image, CROP_PX)[0].ragged for image in (burst, whole))
    assert ragged > 1.7 > 1.2 > smooth


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([NUCLEUS], ""),
        ([], EMPTY),
        ([replace(NUCLEUS, away_um=5.1)], EMPTY),
        ([replace(NUCLEUS, size_um2=13.0)], SMALL),
        ([replace(NUCLEUS, size_um2=13.0), replace(NUCLEUS, away_um=9.0)], SMALL),
        ([replace(NUCLEUS, size_um2=13.0), NUCLEUS], ""),
        ([replace(NUCLEUS, ragged=2.6)], RAGGED),
        ([replace(NUCLEUS, ragged=2.6), replace(NUCLEUS, away_um=4.0)], ""),
        ([replace(NUCLEUS, away_um=4.0), replace(NUCLEUS, away_um=6.0)], BETWEEN),
        ([replace(NUCLEUS, away_um=4.0), replace(NUCLEUS, away_um=8.0)], ""),
    ],
)
def test_the_reason_follows_from_the_measures(seen, reason):
    assert reason_of(seen, CellLimits()) == reason


def test_the_outline_is_that_of_another_library(monkeypatch):
    masks = []

    def kept(part, levels, limits):
        found = list(stained_objects(part, levels, limits))
        masks.extend(mask_of([one], part.picture.green.shape) for one in found)
        return found

    from hemabridge.fields.single_cell import stained_objects

    monkeypatch.setattr("hemabridge.fields.single_cell.stained_objects", kept)
    image = picture("clinic-like", *RED_CELLS, ("neutrophil", 0.0, 0.0, 6.0), ("smudge", 11.0, 9.0, 5.0))
    ragged = sorted(one.ragged for one in seen_objects(image, CROP_PX))
    outlines = [perimeter_crofton(np.pad(mask, 1), directions=2) for mask in masks]
    discs = [2 * np.sqrt(np.pi * mask.sum()) for mask in masks]
    assert len(ragged) >= 2
    np.testing.assert_allclose(ragged, sorted(np.divide(outlines, discs)), rtol=1e-6)


def test_a_picture_is_searched_once_for_each_crop() -> None:
    image = picture("clinic-like", *RED_CELLS, ("neutrophil", 0.0, 0.0, 6.0))
    assert seen_objects(image, CROP_PX) is seen_objects(image.copy(), CROP_PX)
    assert seen_objects(image, CROP_PX) != seen_objects(image, CROP_PX - 10)


@pytest.mark.parametrize(
    ("crop_px", "classes"),
    [
        (None, LEUKOCYTES),
        ("whole", LEUKOCYTES),
        (CROP_PX, ("neutrophil", "Platelets")),
        (CROP_PX, ("neutrophil", "smudge-cell")),
        (CROP_PX, ("neutrophil", "RBC")),
    ],
)
def test_without_a_scale_or_with_classes_of_other_objects_nothing_is_said(crop_px, classes):
    glass = np.full((240, 240, 3), 230, np.uint8)
    assert no_single_cell(glass, crop_px, classes) == ""
    assert no_single_cell(glass, CROP_PX, ("neutrophil", "NRBC", "nucleated erythrocyte")) == EMPTY


@pytest.mark.parametrize("size", [(1, 1), (8, 9), (40, 3000)])
@pytest.mark.parametrize("crop_px", [1, 8, 10_000])
def test_any_size_of_image_and_crop_gets_an_answer(size, crop_px):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert no_single_cell(noise, crop_px, LEUKOCYTES) in ("", EMPTY, SMALL, BETWEEN, RAGGED)


def test_cells_that_are_read_keep_the_reason_and_the_label(tmp_path):
    write_image(tmp_path / "glass.png", picture("clinic-like", *RED_CELLS))
    write_image(tmp_path / "cell.png", picture("clinic-like", *RED_CELLS, ("monocyte", 0.0, 0.0, 7.5)))
    names = ["cell.png", "glass.png"]
    listed = Listed(make_manifest({"path": names, "site": ["a"] * 2, "class": ["monocyte"] * 2}, tmp_path))
    reasons = {"unknown_reason": lambda image, side: no_single_cell(image, side, LEUKOCYTES)}
    cells = read_at_sizes(listed, LEUKOCYTES, NewCrop(CROP_PX), (32,), silent, **reasons)[32]
    assert (cells.paths, cells.labels.tolist()) == (tuple(names), [1, 1])
    assert (cells.unknown, cells.failed) == ({"glass.png": EMPTY}, {})
