import numpy as np
import pytest

from hemabridge.fields.field_scale import Scale, ScaleSource
from hemabridge.fields.pooled_scale import MIXED, SEVERAL, microscopes_of, pooled_scales


def scale(um_per_px: float, cells: int, source: ScaleSource = "red cells", error: float = 0.06) -> Scale:
    return Scale(um_per_px, um_per_px * np.exp(-error), um_per_px * np.exp(error), source, cells)


def many(um_per_px: float, count: int, seed: int = 0) -> list[Scale]:
    """Fields of one microscope, whose red cells state the scale within 5 %."""
    rng = np.random.default_rng(seed)
    return [scale(um_per_px * float(np.exp(rng.normal(0, 0.05))), int(rng.integers(8, 16))) for _ in range(count)]


def test_fields_of_one_microscope_have_one_scale_that_is_nearer_than_their_own() -> None:
    own = many(0.08, 40)
    found = pooled_scales(own)
    (used,) = {one.scale.um_per_px for one in found if one.scale is not None}
    assert used == pytest.approx(0.08, rel=0.02)
    assert {one.scale.source for one in found if one.scale is not None} == {"red cells"}
    assert {one.remark for one in found} == {""}
    (first, *_) = (one.scale for one in found if one.scale is not None)
    assert first.low < 0.08 < first.high
    assert first.high / first.low < own[0].high / own[0].low


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (scale(0.14, 3), "its own 3 red cells state 0.14 um per pixel; the scale of the other fields was taken"),
        (scale(0.03, 1, "nuclei", 0.69), "its own nuclei state 0.03 um per pixel; the scale of the other fields"),
        (scale(0.1, 12), "its own 12 red cells state 0.1 um per pixel; the scale of the other fields was taken"),
    ],
)
def test_a_poor_field_takes_the_scale_of_the_others_with_a_remark(own: Scale, said: str) -> None:
    *_, last = pooled_scales([*many(0.08, 20), own])
    assert last.scale is not None
    assert (last.scale.um_per_px, last.scale.source) == (pytest.approx(0.08, rel=0.02), "other fields")
    assert last.remark.startswith(said)


def test_a_field_alone_and_one_whose_file_states_its_scale_keep_theirs() -> None:
    alone, stated = scale(0.0834567, 5), scale(0.25, 0, "file", 0.0)
    assert [one.scale for one in pooled_scales([alone])] == [alone]
    assert [one.scale for one in pooled_scales([None])] == [None]
    assert pooled_scales([*many(0.08, 5), None])[-1].scale is None  # nothing is in it
    *_, last = pooled_scales([*many(0.08, 5), stated])
    assert (last.scale, last.remark) == (stated, "")


def test_magnifications_are_kept_apart_and_a_field_that_may_be_of_either_says_so() -> None:
    own = [*many(0.08, 20), *many(0.13, 6, seed=1), scale(0.1, 1, "nuclei", 0.69), scale(0.13, 3)]
    assert [one.um_per_px for one in microscopes_of(own)] == pytest.approx([0.08, 0.13], rel=0.03)
    *known, unknown, few = pooled_scales(own)
    assert {round(one.scale.um_per_px, 2) for one in known[:20] if one.scale is not None} == {0.08}
    assert {round(one.scale.um_per_px, 2) for one in [*known[20:], few] if one.scale is not None} == {0.13}
    assert {one.remark for one in known[:20]} == {""}
    assert all(one.remark.startswith("another magnification than most fields have") for one in [*known[20:], few])
    assert unknown.scale == own[-2]
    assert unknown.remark.startswith(SEVERAL)


def test_a_single_sure_field_of_another_magnification_keeps_its_scale() -> None:
    odd = scale(0.2, 14)
    *_, last = pooled_scales([*many(0.08, 20), odd])
    assert last.scale == odd
    assert last.remark.startswith("another magnification than most fields have, whose red cells state 0.0")


def test_fields_of_two_microscopes_that_cannot_be_told_apart_keep_their_own() -> None:
    own = [*many(0.08, 10), *many(0.104, 10, seed=1)]
    found = pooled_scales(own)
    assert [one.scale for one in found] == own
    assert {one.remark for one in found} == {MIXED}


@pytest.mark.parametrize("seed", range(5))
def test_scales_that_differ_little_are_not_pooled_without_a_word(seed: int) -> None:
    def measured(um_per_px: float, seed: int) -> list[Scale]:
        rng = np.random.default_rng(seed)
        return [scale(um_per_px * float(np.exp(rng.normal(0, 0.04))), 12) for _ in range(30)]

    first, second = measured(0.08, seed), measured(0.08 * 1.15, seed + 100)
    assert {one.remark for one in pooled_scales([*first, *second])} == {MIXED}
    assert {one.remark for one in pooled_scales([*first, *measured(0.08, seed + 100)])} == {""}


def test_a_few_poor_fields_are_not_taken_for_two_microscopes() -> None:
    found = pooled_scales([scale(0.075, 4), scale(0.08, 4), scale(0.085, 4), scale(0.13, 3)])
    (used,) = {one.scale.um_per_px for one in found if one.scale is not None}
    assert used == pytest.approx(0.08, rel=0.02)
