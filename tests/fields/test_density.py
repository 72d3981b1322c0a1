"""Light absorbed in a picture: densities and the foreground's threshold, against scikit-image on all pixels."""

import numpy as np
import pytest
from skimage.filters import threshold_multiotsu

from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells
from hemabridge.fields.density import BLUE_SHARE, FOREGROUND_SHARE, LEAST_LIGHT, absorbed_light
from hemabridge.imaging.compartments import background_color


@pytest.mark.parametrize("hospital", sorted(HOSPITALS))
@pytest.mark.parametrize("size", [64, 150])
def test_the_threshold_by_counted_levels_is_that_of_all_pixels(hospital, size):
    for image in simulate_cells(CLASSES[:4], 1, HOSPITALS[hospital], 5, size)[0]:
        picture = absorbed_light(image, background_color(image))
        lost = 1 - np.power(np.float32(10), -picture.green)
        wanted = -np.log10(1 - FOREGROUND_SHARE * float(threshold_multiotsu(lost, 3, nbins=128)[0]))
        assert picture.edge == wanted
        np.testing.assert_array_equal(picture.foreground, picture.green > wanted)


def test_densities_are_those_of_beer_and_lambert():
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    glass = np.array([240, 200, 180], np.float32)
    picture = absorbed_light(image, glass)
    for plane, channel in ((picture.green, 1), (picture.blue, 2)):
        light = np.clip(image[..., channel] / glass[channel], LEAST_LIGHT, 1)
        np.testing.assert_allclose(plane, -np.log10(light), atol=1e-6)
    np.testing.assert_allclose(picture.chromatin, np.maximum(picture.green - BLUE_SHARE * picture.blue, 0), atol=1e-7)


@pytest.mark.parametrize("values", [[240], [240, 120], [240, 239, 238]])
def test_glass_alone_and_two_flat_colors_have_no_foreground(values):
    image = np.resize(np.array(values, np.uint8)[:, None], (20, 20, 3))
    picture = absorbed_light(image, np.full(3, 240, np.float32))
    assert picture.edge is None
    assert not picture.foreground.any()
