import math

import numpy as np
import pytest

from hemabridge.data.simulate.canvas import FIELD_UM, Canvas
from hemabridge.data.simulate.geometry import Disc, chain, edge, ellipse, fringe, intersect, roughen, union_of_discs


def covered_um2(depth):
    return float((depth > 0).mean()) * FIELD_UM**2


@pytest.mark.parametrize(("aspect", "angle"), [(1.0, 0.0), (1.6, 0.4), (2.0, 1.9)])
def test_ellipse_has_the_area_of_its_radius_whatever_its_aspect(aspect, angle):
    depth = ellipse(Canvas(400), Disc(0.5, -0.3, 4.0), aspect=aspect, angle=angle)
    assert covered_um2(depth) == pytest.approx(math.pi * 16.0, rel=0.01)


def test_edge_is_one_inside_zero_outside_and_half_at_the_border():
    np.testing.assert_allclose(edge(np.array([-1.0, -0.2, 0.0, 0.2, 1.0], np.float32), 0.2), [0, 0, 0.5, 1, 1])


def test_union_of_two_separate_discs_has_the_sum_of_their_areas():
    depth = union_of_discs(Canvas(400), [Disc(-4.0, 0.0, 2.0), Disc(4.0, 0.0, 1.0)])
    assert covered_um2(depth) == pytest.approx(math.pi * 5.0, rel=0.02)


def test_intersect_lies_inside_both_shapes():
    canvas = Canvas(200)
    first, second = ellipse(canvas, Disc(-1.0, 0.0, 3.0)), ellipse(canvas, Disc(1.0, 0.0, 3.0))
    both = intersect(first, second, 0.4)
    assert np.all(both <= np.minimum(first, second))
    assert np.all(np.minimum(first, second) - both <= 0.1 + 1e-6)
    assert covered_um2(both) > 10.0


def test_chain_joins_discs_without_a_hole_and_with_a_waist():
    discs = [Disc(-3.0, 0.0, 1.5), Disc(3.0, 0.0, 1.5)]
    depth = union_of_discs(Canvas(180), chain(discs, waist=0.3, steps=9))
    middle = depth[90]
    assert np.all(middle[np.abs(Canvas(180).x[0]) < 3.0] > 0)
    assert np.count_nonzero(depth[:, 90] > 0) / 10 == pytest.approx(2 * 0.3 * 1.5, abs=0.25)


def test_roughen_moves_the_edge_by_about_its_amplitude():
    canvas = Canvas(200)
    smooth = ellipse(canvas, Disc(0.0, 0.0, 5.0))
    moved = roughen(smooth, canvas, np.random.default_rng(0), 0.3, 1.0) - smooth
    assert moved.std() == pytest.approx(0.3, rel=0.2)


def test_fringe_grows_outwards_only_and_most_at_its_pole():
    hairs = fringe(Canvas(128), np.random.default_rng(3), length_um=1.0, hairs=30, spread=0.6)
    assert hairs.min() >= 0.0
    assert hairs.max() > 0.5
    assert (hairs < 0.05).mean() > 0.5
