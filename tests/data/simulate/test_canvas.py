import numpy as np
import pytest

from hemabridge.data.simulate.canvas import FIELD_UM, Canvas


def test_axis_holds_pixel_centers_in_micrometers():
    canvas = Canvas(36)
    assert canvas.px_per_um == pytest.approx(2.0)
    assert canvas.x[0, 0] == pytest.approx(-FIELD_UM / 2 + 0.25)
    assert canvas.y[-1, 0] == pytest.approx(FIELD_UM / 2 - 0.25)


@pytest.mark.parametrize("scale_um", [0.3, 1.0, 3.0])
def test_noise_has_mean_zero_and_unit_variance(scale_um):
    fields = np.stack([Canvas(160).noise(np.random.default_rng(seed), scale_um) for seed in range(12)])
    assert fields.mean() == pytest.approx(0.0, abs=0.2)
    assert fields.std() == pytest.approx(1.0, abs=0.15)


def test_noise_does_not_depend_on_the_number_of_pixels():
    fine = Canvas(384).noise(np.random.default_rng(4), 1.0)
    coarse = Canvas(96).noise(np.random.default_rng(4), 1.0)
    averaged = fine.reshape(96, 4, 96, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(averaged, coarse, atol=0.05)


def test_grains_agree_with_a_search_over_all_points():
    canvas, spacing = Canvas(48), 1.5
    distance, mark = canvas.grains(np.random.default_rng(2), spacing)
    count = int(np.ceil(FIELD_UM / spacing)) + 2
    points = np.random.default_rng(2).random((3, count, count), dtype=np.float32)
    rows, columns = np.mgrid[:count, :count] - 1
    y = (rows + points[1]) * spacing - FIELD_UM / 2
    x = (columns + points[0]) * spacing - FIELD_UM / 2
    separations = np.hypot(canvas.y[:, :, None, None] - y, canvas.x[:, :, None, None] - x).reshape(48, 48, -1)
    nearest = separations.argmin(axis=-1)
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(distance[inside], separations.min(axis=-1)[inside], atol=1e-4)
    np.testing.assert_array_equal(mark[inside], points[2].ravel()[nearest][inside])
