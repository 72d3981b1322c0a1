"""Simulated fields: the same in every hospital, with the exact place and size of each object."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from hemabridge.data.simulate import CLASSES, HOSPITALS, FieldSpec, paint_field, photograph_field, plan_field
from hemabridge.data.simulate.field_plan import AREAS
from hemabridge.data.simulate.stain import Structure
from hemabridge.errors import InputError

SMALL = FieldSpec(seed=3, width_px=320, height_px=240, um_per_px=0.25, leukocytes=4.0, areas=("monolayer",))


@pytest.fixture(scope="module")
def painted():
    return paint_field(plan_field(SMALL, 0))


def test_a_field_depends_on_seed_and_number_alone(painted):
    again = paint_field(plan_field(SMALL, 0))
    assert again.objects == painted.objects
    np.testing.assert_array_equal(again.thickness, painted.thickness)
    assert plan_field(SMALL, 1).objects != painted.plan.objects
    assert plan_field(replace(SMALL, seed=4), 0).objects != painted.plan.objects


def test_each_hospital_photographs_the_same_field(painted):
    pictures = [photograph_field(painted, hospital) for hospital in HOSPITALS.values()]
    assert {(one.shape, one.dtype.name) for one in pictures} == {((240, 320, 3), "uint8")}
    assert len({one.tobytes() for one in pictures}) == len(HOSPITALS)
    np.testing.assert_array_equal(pictures[0], photograph_field(painted, HOSPITALS["clinic-like"]))
    darkness = [255.0 - one.mean(axis=2) for one in pictures]
    for other in darkness[1:]:
        assert np.corrcoef(darkness[0].ravel(), other.ravel())[0, 1] > 0.75


def test_chromatin_lies_at_each_leukocyte_and_nowhere_else(painted):
    dense = painted.thickness[Structure.CHROMATIN] > 0.4
    rows, columns = np.indices(dense.shape)
    near = np.zeros_like(dense)
    cells = [one for one in painted.objects if one.kind in CLASSES]
    assert len(cells) >= 3
    for cell in cells:
        radius = 0.65 * cell.diameter_um / SMALL.um_per_px * 2
        own = np.hypot(columns + 0.5 - 2 * cell.x, rows + 0.5 - 2 * cell.y) < radius
        if cell.visible > 0.5:
            assert dense[own].mean() > 0.1
        near |= own
    assert not np.any(dense & ~near)


def test_a_lone_red_cell_is_where_it_is_said_and_as_wide():
    field = paint_field(plan_field(replace(SMALL, leukocytes=0, areas=("sparse",)), 1))
    for one in (o for o in field.objects if o.kind == "red_cell" and not o.border):
        rows, columns = np.indices(field.thickness.shape[1:])
        away = np.hypot(columns + 0.5 - 2 * one.x, rows + 0.5 - 2 * one.y) * SMALL.um_per_px / 2
        others = [o for o in field.objects if o is not one and np.hypot(o.x - one.x, o.y - one.y) * 0.25 < 10]
        if not others:
            own = binary_fill_holes((field.thickness[Structure.RED_CELL] > 0.5) & (away < 6))
            assert 2 * np.sqrt(own.sum() / np.pi) * SMALL.um_per_px / 2 == pytest.approx(one.diameter_um, rel=0.01)
            assert np.median(columns[own]) / 2 == pytest.approx(one.x, abs=0.5 / SMALL.um_per_px)
            return
    pytest.fail("no red cell lies alone")


def test_areas_hold_what_they_are_called():
    counted = {
        area: Counter(o.kind for index in range(6) for o in plan_field(FieldSpec(areas=(area,)), index).objects)
        for area in AREAS
    }
    red = {area: counts["red_cell"] / 6 for area, counts in counted.items()}
    assert red["empty"] < 4 < 15 < red["sparse"] < 40 < red["monolayer"] < 90 < 120 < red["thick"] < 240
    assert not set(counted["empty"]) & set(CLASSES)
    sharp, soft = (
        photograph_field(paint_field(replace(plan_field(SMALL, 0), area=area)), HOSPITALS["clinic-like"], noise=False)
        for area in ("monolayer", "blurred")
    )
    assert np.abs(np.diff(soft.astype(float), axis=1)).max() < 0.6 * np.abs(np.diff(sharp.astype(float), axis=1)).max()


def test_some_leukocytes_touch_and_some_are_cut():
    plans = [plan_field(FieldSpec(leukocytes=6.0, areas=("monolayer",)), index) for index in range(20)]
    for plan in plans:
        sizes = Counter(o.cluster for o in plan.objects if o.cluster)
        assert all(size >= 2 for size in sizes.values())
    cells = [o for plan in plans for o in plan.objects if o.kind in CLASSES]
    assert 0.1 < np.mean([o.cluster > 0 for o in cells]) < 0.6
    width, height = FieldSpec().size_um
    cut = [min(o.x_um, o.y_um, width - o.x_um, height - o.y_um) < o.radius_um for o in cells]
    assert 0.1 < np.mean(cut) < 0.6


def test_classes_come_as_often_as_the_mix_says():
    spec = FieldSpec(leukocytes=10.0, prevalence={"blast": 3.0, "eosinophil": 1.0}, areas=("sparse",))
    kinds = Counter(o.kind for index in range(40) for o in plan_field(spec, index).objects)
    assert kinds["blast"] / (kinds["blast"] + kinds["eosinophil"]) == pytest.approx(0.75, abs=0.07)


def test_a_crowded_field_has_every_cell_of_its_mix():
    counted = Counter()
    for index in range(5):
        spec = FieldSpec(
            seed=1,
            width_px=300,
            height_px=300,
            leukocytes=30.0,
            prevalence={"monocyte": 1.0, "lymphocyte": 1.0},
            areas=("sparse",),
        )
        counted.update(o.kind for o in plan_field(spec, index).objects if o.kind in CLASSES)
    assert sum(counted.values()) > 120
    assert 0.4 < counted["monocyte"] / sum(counted.values()) < 0.6


def test_a_platelet_that_is_too_thin_to_see_is_left_out():
    spec = FieldSpec(seed=31, leukocytes=5, width_px=800, height_px=600, um_per_px=0.11, areas=("monolayer", "sparse"))
    plan = plan_field(spec, 15)
    thin = next(one for one in plan.objects if one.number == 47)
    assert thin.kind == "platelet"
    assert paint_field(replace(plan, objects=(thin,))).objects == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"prevalence": {"wombat": 1.0}},
        {"prevalence": {}},
        {"areas": ()},
        {"um_per_px": 0.0},
        {"width_px": 10},
        {"seed": -1},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        FieldSpec(**wrong)
