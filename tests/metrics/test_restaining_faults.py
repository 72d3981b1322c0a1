from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.color import lab_to_rgb
from hemabridge.imaging.compartments import segment
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import scale_matched
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.restaining_faults import (
    Measures,
    faults_in,
    grid_amplitudes,
    hidden_information,
    kept_contrast,
    kept_differences,
    least_change,
    luminance_correlation,
    mean_change,
    measure_restaining,
)
from hemabridge.normalizers import NORMALIZERS, fit_on_cells


def cells(hospital: str, seed: int = 0) -> UInt8Images:
    return simulate_cells(("neutrophil", "lymphocyte"), 6, HOSPITALS[hospital], seed, 64)[0]


@pytest.fixture(scope="module")
def source() -> UInt8Images:
    return cells("yellow-field")


@pytest.fixture(scope="module")
def truth() -> UInt8Images:
    return cells("clinic-like")


def faults(restained: UInt8Images, originals: UInt8Images, least: float = 40.0) -> list[str]:
    return faults_in(measure_restaining(restained, originals, least))


def with_grid(images: UInt8Images, period_px: int, levels: float) -> UInt8Images:
    rows, columns = np.indices(images.shape[1:3])
    wave = levels * np.cos(2 * np.pi * rows / period_px) * np.cos(2 * np.pi * columns / period_px)
    return np.clip(images + np.rint(wave)[None, :, :, None], 0, 255).astype(np.uint8)


def test_what_the_target_would_show_has_no_fault(source: UInt8Images, truth: UInt8Images) -> None:
    assert faults(truth, source, least_change(source, cells("clinic-like", 1))) == []


def test_each_hand_made_failure_is_named_and_no_other(source: UInt8Images, truth: UInt8Images) -> None:
    assert faults(255 - truth, source) == ["inverted"]
    assert faults(np.full_like(source, 180), source) == ["constant"]
    assert faults(np.repeat(truth[:1], len(truth), axis=0), source) == ["collapsed"]
    assert faults(source, source) == ["idle"]
    assert faults(with_grid(truth, 2, 8), source) == ["checkered"]
    assert faults(with_grid(truth, 4, 12), source) == ["checkered"]


def test_doing_nothing_is_right_where_the_sites_look_alike(source: UInt8Images) -> None:
    alike = least_change(source, cells("yellow-field", 1))
    assert alike < 4
    assert faults(source, source, alike) == []
    assert measure_restaining(source, source, alike).change is None


def test_a_faint_grid_and_one_that_the_originals_have_are_no_fault(source: UInt8Images, truth: UInt8Images) -> None:
    assert faults(with_grid(truth, 2, 2), source) == []
    assert faults(with_grid(truth, 2, 8), with_grid(source, 2, 8)) == []


def test_blotches_on_empty_glass_are_counted(source: UInt8Images, truth: UInt8Images) -> None:
    assert measure_restaining(truth, source, 40.0).tinted_glass == 0
    blotched = truth.copy()
    left = np.indices(source.shape[1:3])[1] < source.shape[2] // 2
    for place in (0, 1, 2):
        blotched[place][segment(source[place]).background & left] = (250, 215, 232)
    assert measure_restaining(blotched, source, 40.0).tinted_glass == pytest.approx(3 / len(source))


def test_a_look_with_a_broken_way_back_hides_information() -> None:
    measures = Measures(0.9, 1.0, 1.0, 1.0, 0.0, 4.0)
    assert faults_in(measures) == ["hidden information"]


@pytest.mark.parametrize("levels", [1, 3, 10])
def test_the_amplitude_of_a_grid_is_told_in_gray_levels(levels: int) -> None:
    flat = np.full((2, 64, 64, 3), 120, np.uint8)
    rows, columns = np.indices((64, 64))
    checkered = (flat + np.where((rows + columns) % 2, levels, -levels)[None, :, :, None]).astype(np.uint8)
    assert grid_amplitudes(checkered) == pytest.approx([levels, 0], abs=0.02)
    # cos(pi r / 2) takes 1, 0, -1, 0: a wave of 4 px along the rows alone, of this amplitude
    striped = (flat + (levels * np.array([1, 0, -1, 0]))[rows % 4][None, :, :, None]).astype(np.uint8)
    assert grid_amplitudes(striped) == pytest.approx([0, levels], abs=0.02)


def test_small_images_show_no_grid() -> None:
    assert grid_amplitudes(np.zeros((3, 31, 40, 3), np.uint8)).tolist() == [0, 0]


def test_correlation_is_pearsons(source: UInt8Images, truth: UInt8Images) -> None:
    luma = np.array([0.299, 0.587, 0.114])
    expected = [pearsonr((a @ luma).ravel(), (b @ luma).ravel())[0] for a, b in zip(truth, source, strict=True)]
    assert luminance_correlation(truth, source) == pytest.approx(np.mean(expected))
    assert luminance_correlation(255 - source, source) == pytest.approx(-1)
    assert luminance_correlation(np.zeros_like(source), source) == 1


def test_shares_of_contrast_and_difference_by_hand() -> None:
    two = np.zeros((2, 2, 2, 3), np.uint8)
    two[0, 0], two[1, 0] = 100, 200
    assert kept_contrast(two // 2, two) == pytest.approx(0.5)
    assert kept_differences(two // 4, two) == pytest.approx(0.25)
    assert (kept_contrast(two, two * 0), kept_differences(two, two * 0)) == (1, 1)


def test_the_least_change_is_that_of_a_shift_and_no_map_to_the_target_does_less(
    source: UInt8Images, truth: UInt8Images
) -> None:
    rng = np.random.default_rng(0)
    lab = rng.uniform((40, -10, -10), (60, 10, 10), (4, 16, 16, 3))
    shifted = lab + np.array([12, 0, 5])
    assert least_change(lab_to_rgb(lab), lab_to_rgb(shifted)) == pytest.approx(13, abs=0.1)
    assert mean_change(lab_to_rgb(shifted), lab_to_rgb(lab)) == pytest.approx(13, abs=0.1)
    assert 0 < least_change(source, truth) <= mean_change(truth, source)


def test_hidden_information_is_a_ratio_of_errors_and_never_blames_the_saving_itself() -> None:
    originals = np.full((1, 4, 4, 3), 100, np.uint8)
    assert hidden_information(originals, originals + 2, originals + 20, originals + 1) == pytest.approx(10)
    assert hidden_information(originals, originals + 2, originals + 20, originals + 10) == pytest.approx(2)
    assert hidden_information(originals, originals, originals + 3, originals) == pytest.approx(3)
    assert hidden_information(originals, originals, originals, originals) == 1


@pytest.fixture(scope="module")
def real_sites(shared_data: Path) -> tuple[UInt8Images, UInt8Images]:
    def site(folder: str, pattern: str, crop_px: int) -> UInt8Images:
        files = sorted((shared_data / folder).glob(pattern))
        return np.stack([scale_matched(read_image(path), crop_px, 64) for path in files[:: len(files) // 12][:12]])

    return site("tecom", "[a-z]*/*.bmp", 90), site("clinic", "[a-z]*/*.jpg", 180)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("linear-ot", "macenko"))) for name in NORMALIZERS],
)
def test_no_normalizer_between_real_sites_raises_an_alarm(
    name: str, real_sites: tuple[UInt8Images, UInt8Images]
) -> None:
    tecom, clinic = real_sites
    least = least_change(tecom, clinic)
    assert least > 4
    assert faults(fit_on_cells(name, tecom, clinic).standardize(tecom), tecom, least) == []
