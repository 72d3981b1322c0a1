import numpy as np
import pytest
from drawn_cells import FIELD, SIDE, cell, lobed
from scipy.stats import wasserstein_distance
from skimage.measure import label, regionprops

from hemabridge.imaging.compartments import WORK_PX, segment
from hemabridge.imaging.scale import resize_square
from hemabridge.synthesis.shape_distributions import MEASURES, compare_shapes, measure_shapes, spread


def test_a_round_nucleus_has_the_area_and_share_that_were_drawn() -> None:
    found = measure_shapes(np.stack([cell(nucleus=18), cell(nucleus=24)]))
    assert set(found) == set(MEASURES)
    drawn = [np.pi * radius**2 / SIDE**2 for radius in (18, 24)]
    assert found["nucleus_area"] == pytest.approx(drawn, rel=0.06)
    assert found["nucleus_share"] == pytest.approx([(18 / 34) ** 2, (24 / 34) ** 2], rel=0.1)
    assert found["lobedness"].max() < 0.03
    assert found["lobes"].tolist() == [1, 1]


def test_lobes_are_counted_and_lobedness_is_one_minus_the_solidity_of_scikit_image() -> None:
    picture = lobed(3)
    found = measure_shapes(picture[None])
    assert found["lobes"].tolist() == [3]
    nucleus = segment(resize_square(picture, WORK_PX)).nucleus
    (region,) = regionprops(label(nucleus > 0, connectivity=2).clip(max=1))
    assert found["lobedness"][0] == pytest.approx(1 - region.solidity, abs=0.01)
    assert found["lobedness"][0] > 0.2


def test_a_picture_without_a_nucleus_has_no_shape() -> None:
    blank = np.full((1, 64, 64, 3), FIELD, np.uint8)
    assert all(np.isnan(values).all() for values in measure_shapes(blank).values())
    assert [values.shape for values in measure_shapes(blank[:0]).values()] == [(0,)] * len(MEASURES)


def test_distances_are_those_of_scipy_in_units_of_the_training_cells() -> None:
    rng = np.random.default_rng(3)
    sets = [dict.fromkeys(MEASURES, rng.normal(mean, 0.5, n)) for mean, n in ((0, 30), (2, 30), (2.2, 25), (2.2, 200))]
    row = next(iter(compare_shapes(*sets)))
    source, synthetic, real, training = (values["lobes"] for values in sets)
    unit = training.std(ddof=1)
    assert row.distance.value == pytest.approx(wasserstein_distance(synthetic, real) / unit)
    assert row.untouched.value == pytest.approx(wasserstein_distance(source, real) / unit)
    assert row.distance.interval[0] <= row.distance.value <= row.distance.interval[1]
    assert row.floor.value < row.distance.interval[1] < row.untouched.interval[0]
    assert row.real.median == pytest.approx(np.median(real))


def test_cells_without_a_nucleus_do_not_count_and_too_few_leave_a_measure_out() -> None:
    full = np.arange(6.0)
    gap = np.array([0.0, np.nan, 2.0, np.nan, 4.0, np.nan])
    lone = np.array([1.0, np.nan, np.nan])
    sets = dict.fromkeys(MEASURES, full)
    rows = compare_shapes(sets, sets | {"nucleus_area": gap, "lobes": lone}, sets, sets)
    assert [row.measure for row in rows] == ["nucleus_area", "nucleus_share", "lobedness"]
    assert rows[0].synthetic.n == 3


def test_a_spread_is_the_quantiles_of_numpy() -> None:
    found = spread(np.arange(101))
    assert (found.p5, found.p25, found.median, found.p75, found.p95, found.n) == (5, 25, 50, 75, 95, 101)
