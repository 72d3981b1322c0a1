import numpy as np
import torch
from skimage.exposure import match_histograms

from hemabridge.imaging.color import rgb_to_lab
from hemabridge.translators.colorization_luminance import (
    LEVELS,
    jittered,
    luminance_curve,
    sampled_lab,
    through_curve,
)


def test_matching_is_that_of_scikit_image_where_no_two_pixels_are_alike() -> None:
    rng = np.random.default_rng(0)
    source = np.clip(rng.normal(60, 12, 40_000), 0, 100).astype(np.float32)
    target = np.clip(rng.gamma(9, 5, 30_000), 0, 100).astype(np.float32)
    ours = through_curve(torch.from_numpy(source), torch.from_numpy(luminance_curve(source, target))).numpy()
    theirs = match_histograms(source, target)
    assert np.abs(ours - theirs).mean() < 0.02
    assert np.quantile(np.abs(ours - theirs), 0.999) < 0.5  # the tails are thin: one entry holds few pixels


def test_a_curve_by_hand() -> None:
    """Four values that occur equally often go to the target's; half of the way goes half of the way."""
    source = np.array([20, 40, 60, 80], np.float32)
    target = np.array([10, 30, 70, 90], np.float32)
    curve = luminance_curve(np.repeat(source, 100), np.repeat(target, 100))
    assert np.all(np.diff(curve) >= 0)
    places = np.round(np.array([0, 20, 30, 50, 79, 100]) / 100 * (LEVELS - 1)).astype(int)
    assert curve[places[[0, -1]]].tolist() == [10, 90]
    assert curve[places[2]] == 20  # between 20 and 40: between 10 and 30
    assert curve[places[3]] == 50


def test_a_burnt_out_field_becomes_the_middle_of_the_target_not_its_brightest_pixel() -> None:
    source, target = np.full(1000, 100, np.float32), np.linspace(40, 90, 1000, dtype=np.float32)
    assert abs(luminance_curve(source, target)[-1] - 65) < 0.1


def test_a_straight_curve_changes_nothing_and_what_lies_outside_is_held() -> None:
    straight = torch.linspace(0, 100, LEVELS)
    values = torch.tensor([-3.0, 0.0, 12.345, 99.99, 100.0, 100.5])
    assert torch.allclose(through_curve(values, straight), values.clamp(0, 100), atol=1e-4) is True


def test_jitter_changes_each_image_alone_keeps_the_order_of_its_pixels_and_can_be_off() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 100, 64).view(1, 1, 8, 8).repeat(3, 1, 1, 1)
    assert torch.allclose(jittered(ramp, 0.0), ramp, atol=1e-4) is True
    changed = jittered(ramp, 0.2)
    assert bool((changed.flatten(1).diff(dim=1) >= 0).all())
    assert len({round(float(image[0, 4, 4]), 3) for image in changed}) == 3
    # By hand: 50 becomes at most 100 * e^0.2 * 0.5^(e^-0.2) and at least 100 * e^-0.2 * 0.5^(e^0.2).
    middle = torch.full((500, 1, 1, 1), 50.0)
    drawn = jittered(middle, 0.2)
    assert 35.1 < drawn.min().item() < 40
    assert 65 < drawn.max().item() < 69.3


def test_the_sample_is_lab_of_the_site_s_pixels() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    assert np.array_equal(sampled_lab(images), rgb_to_lab(images).reshape(-1, 3))
