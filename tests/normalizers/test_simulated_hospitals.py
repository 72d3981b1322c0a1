"""Against the ground truth: the same cells as the target hospital would have photographed them, without noise."""

import pytest

from hemabridge.data.simulate import TARGET
from hemabridge.imaging.color import delta_e_2000, rgb_to_lab
from hemabridge.normalizers import NORMALIZERS, fit_on_cells

from .conftest import Simulated

LEFT = {
    "white-point": 0.75,
    "reinhard-image": 0.6,
    "macenko": 0.65,
}
"""Share of the originals' mean CIEDE2000 that may be left; elsewhere 0.4."""


@pytest.mark.parametrize("name", list(NORMALIZERS))
@pytest.mark.parametrize(
    "hospital", ["yellow-field", *(pytest.param(name, marks=pytest.mark.slow) for name in ("blue-shifted", "pale"))]
)
def test_restained_cells_are_nearer_to_the_truth(name: str, hospital: str, simulated: Simulated) -> None:
    truth = rgb_to_lab(simulated(TARGET, 9, noise=False))
    originals = simulated(hospital, 9)
    normalizer = fit_on_cells(name, simulated(hospital, 2), simulated(TARGET, 1))
    before = delta_e_2000(rgb_to_lab(originals), truth).mean()
    after = delta_e_2000(rgb_to_lab(normalizer.standardize(originals)), truth).mean()
    assert after < LEFT.get(name, 0.4) * before
