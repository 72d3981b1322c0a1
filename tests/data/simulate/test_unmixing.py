import numpy as np
import pytest
from scipy.optimize import nnls

from hemabridge.data.simulate import HOSPITALS, TARGET
from hemabridge.data.simulate.camera import response
from hemabridge.data.simulate.stain import StainBath, Structure, dye_spectra, dye_uptake, transmittance
from hemabridge.data.simulate.unmixing import density, unmixed

CLINIC = HOSPITALS[TARGET]


def mixtures(count=40, most=1.0):
    """Two structures at a place, as in a cell."""
    rng = np.random.default_rng(0)
    amounts = np.zeros((count, len(Structure)), dtype=np.float32)
    for row in amounts:
        row[rng.choice(len(Structure), 2, replace=False)] = rng.uniform(0.05 * most, most, 2)
    return amounts


def test_density_is_that_of_the_light_which_the_stain_lets_through():
    amounts, hospital = mixtures(), HOSPITALS["yellow-field"]
    passed = transmittance(np.ascontiguousarray(amounts.T)[:, :, None], hospital.bath)[:, :, 0]
    expected = -np.log10(response(hospital.camera) @ passed).T
    np.testing.assert_allclose(density(amounts, hospital.bath, hospital.camera), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["clinic-like", "dark-blurred", "yellow-field"])
def test_amounts_explain_the_colors_they_were_found_in(name):
    hospital = HOSPITALS[name]
    seen = density(mixtures(), hospital.bath, hospital.camera)
    amounts = unmixed(seen, hospital)
    assert amounts.min() >= 0.0
    missed = np.abs(density(amounts, hospital.bath, hospital.camera) - seen)
    assert missed.mean() < 0.02 * seen.mean()
    assert missed.max() < 0.05


def test_thin_layers_are_unmixed_as_scipy_does():
    # So little light is lost that densities add, and the problem is an ordinary one with a ridge.
    seen = density(mixtures(20, most=0.001), CLINIC.bath, CLINIC.camera)
    slopes = response(CLINIC.camera) @ (dye_uptake(StainBath()) @ dye_spectra()).T
    ridged = np.vstack([slopes, np.sqrt(3e-4) * np.eye(len(Structure))])
    for got, row in zip(unmixed(seen, CLINIC), seen, strict=True):
        expected, _ = nnls(ridged.astype(np.float64), np.r_[row, np.zeros(len(Structure))].astype(np.float64))
        np.testing.assert_allclose(slopes @ got, slopes @ expected, atol=0.01 * row.max())


def test_what_is_lighter_than_glass_holds_nothing():
    lighter = np.full((1, 3), -0.2, dtype=np.float32)
    np.testing.assert_array_equal(unmixed(lighter, CLINIC), 0.0)
