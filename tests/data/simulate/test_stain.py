import numpy as np
import pytest
from pydantic import ValidationError

from hemabridge.data.simulate.stain import (
    WAVELENGTHS_NM,
    Dye,
    StainBath,
    Structure,
    dye_spectra,
    dye_uptake,
    transmittance,
)


def one(structure, amount=1.0):
    maps = np.zeros((len(Structure), 1, 1), dtype=np.float32)
    maps[structure] = amount
    return maps


@pytest.mark.parametrize(
    ("dye", "published_nm"), [(Dye.AZURE_MONOMER, 646), (Dye.EOSIN, 517), (Dye.COMPLEX, 552), (Dye.HEMOGLOBIN, 415)]
)
def test_each_dye_absorbs_most_at_its_published_peak(dye, published_nm):
    strongest = WAVELENGTHS_NM[dye_spectra()[dye].argmax()]
    assert abs(strongest - published_nm) <= 12.5


def test_bound_azure_absorbs_at_shorter_wavelengths_than_the_monomer():
    spectra = dye_spectra()
    assert spectra[Dye.AZURE_BOUND].argmax() < spectra[Dye.AZURE_MONOMER].argmax()


def test_absorbances_add_and_glass_is_clear():
    bath = StainBath()
    both = one(Structure.CHROMATIN, 0.7) + one(Structure.RED_CELL, 0.4)
    product = transmittance(one(Structure.CHROMATIN, 0.7), bath) * transmittance(one(Structure.RED_CELL, 0.4), bath)
    np.testing.assert_allclose(transmittance(both, bath), product, rtol=1e-5)
    np.testing.assert_array_equal(transmittance(one(Structure.RNA, 0.0), bath), 1.0)


def test_absorbance_is_the_hand_worked_sum_over_dyes():
    bath = StainBath(azure_b=1.3, eosin_y=0.6, ph=7.0)
    expected = sum(dye_uptake(bath)[Structure.PROTEIN, dye] * dye_spectra()[dye] for dye in Dye)
    got = -np.log10(transmittance(one(Structure.PROTEIN), bath))[:, 0, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_acid_water_favors_eosin_and_alkaline_water_azure():
    acid, alkaline = dye_uptake(StainBath(ph=6.2)), dye_uptake(StainBath(ph=7.4))
    assert acid[Structure.RED_CELL, Dye.EOSIN] > 1.5 * alkaline[Structure.RED_CELL, Dye.EOSIN]
    assert alkaline[Structure.RNA, Dye.AZURE_BOUND] > 1.5 * acid[Structure.RNA, Dye.AZURE_BOUND]


def test_without_complex_nuclei_are_blue():
    def red_over_blue(bath):
        passed = transmittance(one(Structure.CHROMATIN, 0.5), bath)[:, 0, 0]
        return passed[WAVELENGTHS_NM >= 600].mean() / passed[WAVELENGTHS_NM < 500].mean()

    assert red_over_blue(StainBath(complex_formed=0.0)) < 0.6 * red_over_blue(StainBath())


def test_bath_refuses_amounts_that_cannot_be():
    with pytest.raises(ValidationError, match="azure_b"):
        StainBath(azure_b=-1.0)
