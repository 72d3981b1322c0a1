import numpy as np
import pytest
from drawn_cells import cell, curved, disc
from PIL import Image

from hemabridge.errors import ImageError
from hemabridge.guard.leftover import draw_change
from hemabridge.guard.morphology import BAD, compare
from hemabridge.guard.thresholds import floors
from hemabridge.guard.verdict import verdicts_of
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells


def test_every_measure_is_there_with_its_direction(target: UInt8Images) -> None:
    measures = compare(target[:3], target[:3]).measures()
    assert {name: measure.bad for name, measure in measures.items()} == dict(BAD)
    unchanged = {"low": 1, "high": 0, "either": 0}
    for name, (values, bad) in measures.items():
        assert (values.dtype, values.shape) == (np.float64, (3,))
        np.testing.assert_allclose(values, unchanged[bad], atol=0.02, err_msg=name)


@pytest.mark.parametrize("power", [0.6, 1.5])
def test_a_monotone_color_map_passes(target: UInt8Images, power: float) -> None:
    mixing = np.array([[0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]])
    some = target[::5]
    mixed = np.rint(curved(some, power) @ mixing.T).astype(np.uint8)
    found = verdicts_of(compare(some, mixed), floors())
    assert found.verdicts == ("pass",) * len(some)


# The compartments' own Reinhard maps send one color to several, by place: it is tested on real cells only.
@pytest.mark.parametrize("name", sorted(NORMALIZERS.keys() - {"reinhard-compartment"}))
def test_what_cannot_move_anything_is_not_refused(name: str, source: UInt8Images, target: UInt8Images) -> None:
    restained = fit_on_cells(name, source, target).standardize(source[::2])
    found = verdicts_of(compare(source[::2], restained), floors())
    assert found.count("refuse") == 0, found.reasons


def test_rounding_and_noise_of_eight_bits_pass(target: UInt8Images) -> None:
    some = target[::5]
    noisy = np.clip(some + np.random.default_rng(0).integers(-2, 3, some.shape), 0, 255).astype(np.uint8)
    assert verdicts_of(compare(some, noisy), floors()).count("pass") == len(some)


def test_a_larger_nucleus_is_refused_for_what_it_is() -> None:
    found = verdicts_of(compare(cell(nucleus=18)[None], cell(nucleus=23)[None]), floors())
    assert found.verdicts == ("refuse",)
    assert {"nucleus_dice", "nucleus_area_change", "nucleus_share_change", "edge_displacement", "residual"} <= set(
        found.reasons[0]
    )


def test_swapped_colors_are_refused_though_a_color_map_explains_them() -> None:
    swapped = 255 - cell()
    found = verdicts_of(compare(cell()[None], swapped[None]), floors())
    assert found.verdicts == ("refuse",)
    assert "structure_ssim" in found.reasons[0]


def test_another_cell_and_no_cell_are_refused(target: UInt8Images) -> None:
    flat = np.full_like(target[:1], 200)
    for other in (target[20:21], flat):
        assert verdicts_of(compare(target[:1], other), floors()).verdicts == ("refuse",)


def test_each_cell_is_judged_by_itself(source: UInt8Images, target: UInt8Images) -> None:
    before, after = source[:4], target[:4]
    together = compare(before, after).measures()
    alone = compare(before[2:3], after[2:3]).measures()
    for name in BAD:
        assert alone[name].values[0] == together[name].values[2]


def test_a_large_picture_says_what_a_small_one_does() -> None:
    def grown(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((288, 288), Image.Resampling.BICUBIC))[None]

    small = compare(cell(nucleus=18)[None], cell(nucleus=22)[None]).measures()
    large = compare(grown(cell(nucleus=18)), grown(cell(nucleus=22))).measures()
    for name, tolerance in (("nucleus_dice", 0.02), ("nucleus_area_change", 0.05), ("edge_displacement", 0.01)):
        assert large[name].values[0] == pytest.approx(small[name].values[0], abs=tolerance), name


@pytest.mark.filterwarnings("error")
def test_odd_pictures_get_finite_measures_and_a_verdict(odd_pairs: dict[str, tuple[UInt8Images, UInt8Images]]) -> None:
    expected = {"black": "pass", "one color to another": "pass", "noise to one color": "refuse", "noise": "refuse"}
    expected |= {"one color to noise": "refuse", "one pixel": "pass", "two colors": "refuse"}
    for what, (before, after) in odd_pairs.items():
        found = compare(before, after)
        for name, (values, _) in found.measures().items():
            assert np.isfinite(values).all(), (what, name)
        verdict = verdicts_of(found, floors()).verdicts[0]
        assert verdict == expected.get(what, verdict), what


def test_no_cells_have_no_morphology() -> None:
    empty = np.zeros((0, 8, 8, 3), np.uint8)
    found = compare(empty, empty)
    assert len(found) == 0
    assert len(verdicts_of(found, floors())) == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3), np.uint8), "before: expected RGB uint8"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8), np.uint8), "after: expected RGB uint8"),
        (np.zeros((1, 0, 8, 3), np.uint8), np.zeros((1, 0, 8, 3), np.uint8), "before: expected RGB uint8"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), "two stacks of the same cells"),
    ],
)
def test_what_is_no_pair_of_stacks_is_refused(before: UInt8Images, after: UInt8Images, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        compare(before, after)


def test_the_picture_shows_where_something_changed() -> None:
    place = disc(48, 74, 3)
    changed = cell()
    changed[place] = (240, 230, 250)
    original, restained, heat = draw_change(cell(), changed)
    np.testing.assert_array_equal(original, cell())
    np.testing.assert_array_equal(restained, changed)
    assert (heat.shape, heat.dtype) == (changed.shape, np.uint8)
    assert heat[place].mean() > 100
    assert heat[disc(20, 20, 8)].max() < 10


def test_the_picture_of_a_large_cell_is_as_large() -> None:
    tall = np.zeros((300, 200, 3), np.uint8)
    assert [picture.shape for picture in draw_change(tall, tall)] == [(300, 200, 3)] * 3


@pytest.mark.parametrize("other", ["pink", "yellow"])
def test_blotches_that_a_color_map_draws_on_glass_are_refused_for_the_glass_alone(other: str) -> None:
    """The map sends two whites that nobody tells apart to two colors, as a translator of single pixels may."""
    whites = {0: (248, 247, 249), 1: (246, 247, 247)}
    colors = {0: (245, 245, 245), 1: {"pink": (250, 218, 232), "yellow": (248, 243, 212)}[other]}
    before = cell()
    after = before.copy()
    glass = (before == before[0, 0]).all(axis=2)
    right = np.indices(glass.shape)[1] >= glass.shape[1] // 2
    for side in (0, 1):
        before[glass & (right == side)], after[glass & (right == side)] = whites[side], colors[side]
    found = verdicts_of(compare(before[None], after[None]), floors())
    assert found.reasons == (("glass_tint",),)
    assert found.verdicts == ("refuse",)


def test_glass_of_another_color_passes() -> None:
    before = cell()
    after = before.copy()
    after[(before == before[0, 0]).all(axis=2)] = (246, 236, 205)
    assert verdicts_of(compare(before[None], after[None]), floors()).verdicts == ("pass",)
