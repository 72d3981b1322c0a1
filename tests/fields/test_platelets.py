"""Platelets, clumps, smudge cells and debris of drawn fields, and nuclei that were taken for others before."""

import numpy as np
import pytest
from drawn_fields import GLASS, NUCLEUS, PLATELET, RED, UM, draw, drawn
from scipy import ndimage

from hemabridge.fields.density import Absorbed
from hemabridge.fields.detect import FieldCells, find_leukocytes
from hemabridge.fields.field_scale import stated_scale
from hemabridge.fields.platelets import dye_weights, small_objects

SCALE = stated_scale(UM)


def others(field):
    return find_leukocytes(field, SCALE).others


def with_discs(field, *discs):
    for x, y, wide, color in discs:
        draw(field, x, y, wide, color)
    return field


@pytest.mark.parametrize("leukocytes", [[(320, 240, 8.0)], []])
def test_platelets_are_counted_with_and_without_a_leukocyte_in_the_field(leukocytes):
    assert others(drawn((480, 640), leukocytes)) == {"platelet": 6}


def test_a_clump_is_counted_as_one_and_a_grain_is_debris():
    field = with_discs(drawn((480, 640), [(320, 240, 8.0)], reds=8), (115, 115, 13, GLASS), (500, 400, 11, GLASS))
    clump = [(100 + 15 * across, 100 + 15 * down, 1.9, PLATELET) for across in range(3) for down in range(3)]
    found = others(with_discs(field, *clump, (500, 400, 0.7, NUCLEUS)))
    assert (found["clump"], found["debris"]) == (1, 1)


def test_the_granules_of_a_leukocyte_are_no_platelets():
    field = with_discs(drawn((480, 640), [(320, 240, 8.0)]), (320, 187, 1.6, PLATELET), (373, 240, 1.6, PLATELET))
    assert others(field) == {"platelet": 6}


def test_a_burst_nucleus_is_a_smudge_and_no_leukocyte():
    field = drawn((480, 640), [(150, 120, 8.0)], reds=8).astype(float)
    rng = np.random.default_rng(0)
    streaks = ndimage.gaussian_filter(rng.normal(0, 1, field.shape[:2]), 6)
    streaks = np.clip(0.37 + 0.16 * streaks / streaks.std(), 0.15, 0.75)
    rows, columns = np.mgrid[: field.shape[0], : field.shape[1]]
    body = ndimage.gaussian_filter((np.hypot(columns - 430, rows - 330) < 55).astype(float), 8)
    light = (np.array(NUCLEUS) / GLASS) ** (body * streaks)[..., None]
    picture = np.clip(field * light, 0, 255).astype(np.uint8)
    found = find_leukocytes(picture, SCALE)
    assert len(found.leukocytes) == 1
    assert found.others["smudge"] == 1
    assert find_leukocytes(picture, SCALE, with_small=False) == FieldCells(found.leukocytes)


def test_a_nucleus_that_the_border_cuts_is_parted_from_one_that_it_touches():
    field = with_discs(drawn((480, 640), []), (300, 401, 9.4, NUCLEUS), (362, 464, 9.0, NUCLEUS))
    found = find_leukocytes(field, SCALE).leukocytes
    assert [(cell.border, cell.cluster) for cell in found] == [(False, True), (True, True)]


def test_lobes_at_opposite_sides_of_a_cell_are_one_leukocyte():
    field = drawn((480, 640), [(320, 240, 0.1)])
    lobes = [(268, 240, 5.6, NUCLEUS), (372, 240, 5.9, NUCLEUS)]
    found = find_leukocytes(with_discs(field, *lobes), SCALE).leukocytes
    assert [(round(cell.x, -1), round(cell.y, -1), cell.cluster) for cell in found] == [(320, 240, False)]


def test_two_small_lymphocytes_side_by_side_are_two():
    assert len(find_leukocytes(drawn((480, 640), [(260, 240, 6.5), (380, 240, 6.5)]), SCALE).leukocytes) == 2


@pytest.mark.parametrize(("gap_um", "count"), [(3.6, 2), (2.0, 1)])
def test_nuclei_with_cytoplasm_between_them_are_two_though_together_hardly_wider_than_one(gap_um, count):
    field = with_discs(drawn((480, 640), [(320, 240, 0.1)]), (250, 240, 7.0, NUCLEUS))
    left = 250 + 10 * (3.5 + gap_um + 2.4)  # the nucleus of a neutrophil, no part of which is thick
    with_discs(field, (left, 240, 4.8, NUCLEUS), (left + 38, 250, 4.8, NUCLEUS))
    assert len(find_leukocytes(field, SCALE).leukocytes) == count


def test_a_granular_nucleus_is_parted_from_a_wide_one_with_its_loose_granules():
    field = drawn((480, 640), [(200, 240, 12.0), (420, 240, 0.1)])
    lobes = [(420 + 42 * np.cos(turn), 240 + 42 * np.sin(turn)) for turn in np.arange(6) * np.pi / 3]
    with_discs(field, *((x, y, 2.4, NUCLEUS) for x, y in [*lobes, (420, 240)]))
    with_discs(field, (305, 240, 1.6, NUCLEUS), (327, 245, 1.6, NUCLEUS))  # too small a group for a nucleus
    found = sorted(find_leukocytes(field, SCALE).leukocytes, key=lambda cell: cell.x)
    assert [round(cell.x, -2) for cell in found] == [200, 400]


def test_light_is_split_between_red_cells_and_dye_by_their_colors():
    red, nuclear = np.array([0.05, 0.2, 0.2], np.float32), np.array([0.4, 0.8, 0.2], np.float32)
    weights = dye_weights(red, nuclear)
    assert weights is not None
    assert weights @ (0.7 * red + 0.3 * nuclear) == pytest.approx([0.7, 0.3], abs=1e-5)
    assert dye_weights(red, 4 * red) is None
    assert dye_weights(np.zeros(3, np.float32), nuclear) is None


def test_only_a_spot_with_more_dye_counts_on_a_red_cell():
    red, nuclear = np.array([0.05, 0.2, 0.2], np.float32), np.array([0.4, 0.8, 0.2], np.float32)
    weights = dye_weights(red, nuclear)
    assert weights is not None
    none = np.zeros((160, 160), np.bool_)

    def found(dye, is_on_red):
        density = np.zeros((160, 160, 3), np.float32)
        if is_on_red:
            draw(density, 80, 80, 7.5, red)
        disc = np.zeros((160, 160), np.float32)
        draw(disc[..., None], 80, 80, 2.5, dye)
        red_plane, green, blue = np.moveaxis(density + disc[..., None] * nuclear, -1, 0)
        picture = Absorbed(green, blue, np.round(100 * red_plane).astype(np.uint8), np.arange(256) / 100, None)
        return small_objects(picture, weights, none, UM)

    assert [one.kind for one in found(0.35, is_on_red=False)] == ["platelet"]
    assert found(0.35, is_on_red=True) == []
    assert [one.kind for one in found(0.8, is_on_red=True)] == ["platelet"]


def test_overlapping_red_cells_are_nothing_else():
    light = np.full((480, 640, 3), GLASS, float)
    for x, y in [(265, 260), (300, 290), (270, 300), (500, 100), (540, 120)]:
        spot = np.ones(light.shape[:2])
        draw(spot[..., None], x, y, 7.5, 0.0)
        light[spot == 0] *= np.array(RED) / GLASS
    noise = np.random.default_rng(0).normal(0, 3, light.shape)
    assert others(np.clip(light + noise, 0, 255).astype(np.uint8)) == {}
