import json
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.domain.cell_descriptor import NAMES, STEPS
from hemabridge.domain.site_profile import (
    FEWEST_CELLS,
    MOST_CELLS,
    Distance,
    SiteProfile,
    SiteProfiles,
    cell_side_px,
    descriptors_of,
    profiles_of,
)
from hemabridge.imaging.standardizer import UInt8Images

KINDS = "neutrophil", "lymphocyte"


def cells(hospital: str, per_class: int, seed: int) -> UInt8Images:
    return simulate_cells(KINDS, per_class, HOSPITALS[hospital], seed, 64)[0]


@pytest.fixture(scope="module")
def profile() -> SiteProfile:
    found = SiteProfile.of(cells("yellow-field", 20, 0), crop_px=64)
    assert found is not None
    return found


def drawn(rng: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """Descriptors of two kinds of cells, all numbers spread by five of their steps, shifted by some steps."""
    kinds = rng.integers(2, size=(count, 1)) * 20.0
    return (rng.normal(0, 5, (count, len(NAMES))) + kinds + shift) * STEPS


def drawn_profile(rng: np.random.Generator, count: int = 150) -> SiteProfile:
    return SiteProfile(side_px=64, cells=[tuple(row) for row in drawn(rng, count).tolist()])  # type: ignore[arg-type]


def test_other_cells_of_the_same_site_are_known_and_other_sites_are_not(profile: SiteProfile) -> None:
    assert profile.distance(descriptors_of(list(cells("yellow-field", 10, 7)))).answer == "in-distribution"
    for hospital in ("clinic-like", "pale", "overstained"):
        found = profile.distance(descriptors_of(list(cells(hospital, 10, 7))))
        assert (found.answer, found.quantile) == ("out-of-distribution", 1.0)


@pytest.mark.parametrize("count", [20, 100, 3000])
def test_folders_of_any_size_of_the_same_site_are_known(count: int) -> None:
    rng = np.random.default_rng(0)
    profile = drawn_profile(rng)
    answers = [profile.distance(drawn(rng, count)).answer for _ in range(10)]
    assert answers.count("in-distribution") >= 9
    assert profile.distance(drawn(rng, count, shift=60)).answer == "out-of-distribution"


@pytest.mark.parametrize("count", [22, 50, 300])
def test_folders_of_the_same_site_are_rarely_called_anything_else(count: int) -> None:
    """At most one in twenty, whatever the number of images: with few of them the limit is wider."""
    rng = np.random.default_rng(count)
    answers = []
    for _ in range(8):
        profile = drawn_profile(rng)
        answers += [profile.distance(drawn(rng, count)).answer for _ in range(25)]
    assert len(answers) - answers.count("in-distribution") <= 0.05 * len(answers)
    assert "out-of-distribution" not in answers


def test_images_of_one_kind_of_a_site_lie_at_its_edge() -> None:
    """Such as those of one smear: few kinds of images are more alike than any images of the site."""
    rng = np.random.default_rng(0)
    profile = drawn_profile(rng)
    one_smear = rng.normal(0, 1, (22, len(NAMES))) * STEPS
    assert profile.distance(one_smear).answer == "borderline"


def test_the_farther_the_more_unknown() -> None:
    rng = np.random.default_rng(1)
    profile = drawn_profile(rng)
    values = [profile.distance(drawn(np.random.default_rng(2), 200, shift)).value for shift in (0, 10, 20, 40)]
    assert values == sorted(values)


def test_the_quantile_is_the_share_of_usual_folders_that_are_nearer(profile: SiteProfile) -> None:
    usual = profile.usual(30)
    assert (np.diff(usual) >= 0).all()
    found = profile.distance(descriptors_of(list(cells("yellow-field", 15, 3))))
    assert found.quantile == pytest.approx((usual < found.value).mean())
    assert found.in_distribution_max == pytest.approx(np.quantile(usual, 0.95))
    assert found.borderline_max == pytest.approx(1.75 * np.quantile(usual, 0.99))
    np.testing.assert_array_equal(profile.usual(30), usual)


def test_images_without_cells_are_unknown(profile: SiteProfile) -> None:
    blank = np.full((25, 64, 64, 3), cells("yellow-field", 1, 0)[0, 0, 0], np.uint8)
    assert profile.distance(descriptors_of(list(blank))).answer == "out-of-distribution"


def test_a_profile_of_blank_images_works_too() -> None:
    blank = np.random.default_rng(0).integers(195, 206, (FEWEST_CELLS, 32, 32, 3)).astype(np.uint8)
    profile = SiteProfile.of(blank)
    assert profile is not None
    assert profile.side_px == 32
    assert profile.distance(descriptors_of(list(blank))).answer == "in-distribution"
    assert profile.distance(descriptors_of(list(blank - 80))).answer == "out-of-distribution"


def test_it_is_numbers_alone_in_and_out_of_json(profile: SiteProfile) -> None:
    text = SiteProfiles(source=profile, target=profile).model_dump_json()
    again = SiteProfiles.model_validate_json(text)
    assert again.source == profile
    assert len(text) < 2 * 60 * MOST_CELLS * len(NAMES)
    assert set(json.loads(text)["source"]) == {"side_px", "crop_px", "cells"}
    descriptors = descriptors_of(list(cells("yellow-field", 5, 3)))
    assert again.source.distance(descriptors) == profile.distance(descriptors)


@pytest.mark.parametrize(
    "change",
    [{"cells": [[0.0] * 24]}, {"cells": [[0.0] * 23] * 30}, {"side_px": 0}, {"side_px": 10**9}, {"more": 1}],
)
def test_what_is_no_profile_is_refused(profile: SiteProfile, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SiteProfile.model_validate(profile.model_dump() | change)
    with pytest.raises(ValidationError):
        SiteProfile.model_validate_json(profile.model_dump_json().replace("64", "NaN", 1))


def test_too_few_images_make_no_profile_and_many_are_sampled() -> None:
    few = cells("pale", 9, 0)
    assert SiteProfile.of(few) is None
    assert profiles_of(few, few) is None
    many = np.repeat(few[:, ::2, ::2], 12, axis=0)
    found = profiles_of(many, many[:20], 64, "whole")
    assert found is not None
    assert (len(found.source.cells), found.source.crop_px, found.target.crop_px) == (MOST_CELLS, 64, "whole")
    assert profiles_of(many, many[:20], 64, "whole") == found


def test_without_a_known_scale_cells_are_found_by_their_nuclei() -> None:
    rows, columns = np.indices((100, 100)) - 49.5
    image = np.full((100, 100, 3), 240, np.uint8)
    image[np.hypot(rows, columns) < 20] = (90, 40, 130)
    assert cell_side_px([image] * 3) == pytest.approx(40 / 0.53, abs=3)
    assert cell_side_px([np.full((30, 50, 3), 9, np.uint8)]) == 30
    assert cell_side_px([]) is None


def test_the_side_of_a_cell_is_measured_with_one_image_in_memory() -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def images() -> Iterator[np.ndarray]:
        for level in range(5):
            assert sum(one() is not None for one in held) <= 1  # the one before
            image = np.full((30, 50, 3), level, np.uint8)
            held.append(weakref.ref(image))
            yield image

    assert cell_side_px(images()) == 30
    assert len(held) == 5


@pytest.mark.parametrize(
    ("value", "answer"),
    [(0.5, "in-distribution"), (1.0, "in-distribution"), (1.5, "borderline"), (2.1, "out-of-distribution")],
)
def test_answers(value: float, answer: str) -> None:
    assert Distance(value, in_distribution_max=1.0, borderline_max=2.0).answer == answer
