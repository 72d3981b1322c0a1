import numpy as np
import pytest
from drawn_cells import SIDE, cell, curved, disc, lobed
from scipy.ndimage import gaussian_filter

from hemabridge.guard.leftover import leftover
from hemabridge.guard.shapes import lobes, shape_change, spots
from hemabridge.imaging.compartments import segment

EVERYWHERE = np.ones((SIDE, SIDE), bool)
PLACES = [(22, 48), (48, 74), (74, 48), (48, 22), (29, 29), (67, 67)]


@pytest.mark.parametrize("radius", [14, 16, 20, 23])
def test_the_dice_and_the_area_of_discs_of_known_size(radius: int) -> None:
    old, new = disc(48, 48, 18), disc(48, 48, radius)
    found = shape_change(cell(nucleus=18), cell(nucleus=radius), EVERYWHERE)
    assert found.dice == pytest.approx(2 * (old & new).sum() / (old.sum() + new.sum()), abs=0.02)
    assert found.area == pytest.approx(np.log(new.sum() / old.sum()), abs=0.05)
    assert found.share == pytest.approx((new.sum() - old.sum()) / disc(48, 48, 34).sum(), abs=0.02)
    assert found.lobes == 0


def test_a_nucleus_that_moves_keeps_its_area() -> None:
    old, new = disc(48, 48, 18), disc(48, 58, 18)
    found = shape_change(cell(), cell(center=(48, 58)), EVERYWHERE)
    assert found.dice == pytest.approx((old & new).sum() / old.sum(), abs=0.02)
    assert found.area == pytest.approx(0, abs=0.03)


def test_a_nucleus_that_is_gone() -> None:
    found = shape_change(cell(), cell(nucleus=0), EVERYWHERE)
    assert found.dice < 0.5
    assert abs(found.area) > 0.5


def test_a_mask_changes_only_where_more_than_color_did() -> None:
    found = shape_change(cell(nucleus=18), cell(nucleus=23), ~EVERYWHERE)
    assert (found.dice, found.area, found.share, found.lobes) == (1, 0, 0, 0)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_lobes_of_a_known_number(count: int) -> None:
    assert lobes(segment(lobed(count)).nucleus) == count


def test_no_nucleus_has_no_lobes_and_a_round_one_has_one() -> None:
    assert lobes(np.zeros((9, 9), bool)) == 0
    assert lobes(disc(48, 48, 18)) == 1
    assert lobes(EVERYWHERE) == 1


def test_a_lost_lobe_is_told() -> None:
    assert shape_change(lobed(4), lobed(3), EVERYWHERE).lobes == -1


@pytest.mark.parametrize("count", [1, 3, 6])
def test_granules_of_a_known_number_that_are_new_or_gone(count: int) -> None:
    plain, dotted = cell(), cell(spots=PLACES[:count])
    assert spots(leftover(plain, dotted).residual) == count
    assert spots(leftover(dotted, plain).residual) == count


def test_one_granule_of_many_is_gone() -> None:
    assert spots(leftover(cell(spots=PLACES), cell(spots=PLACES[1:])).residual) == 1


def test_an_edge_that_moved_is_no_spot() -> None:
    # A camera sees no steps of whole pixels, which are round spots of their own.
    small, large = (gaussian_filter(cell(nucleus=radius), (1, 1, 0)) for radius in (15, 19))
    assert spots(leftover(small, large).residual) == 0
    assert spots(leftover(cell(spots=PLACES), curved(cell(spots=PLACES), 1.5)).residual) == 0
