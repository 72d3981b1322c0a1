"""The chemistry of a Romanowsky stain: the uptake of each dye by each structure, and the light that passes.

Light that crosses the film obeys Beer and Lambert: transmittance = 10^-absorbance, and absorbances add over structures
and dyes. Peaks of the dyes:

- azure B, monomer: 646 nm in water, 641 nm in alcohol (Zipfel et al. 1981, Histochemistry 72:279-290, doi
  10.1007/BF00517141);
- azure B, dimers and higher aggregates, bound to nucleic acids: at shorter wavelengths than the monomer (the same
  paper); 590 nm with a shoulder at 560 nm here;
- eosin Y: about 517 nm in water, some nanometers longer when bound to protein; 525 nm with a shoulder at 492 nm here;
- the azure B-eosin Y complex, which alone makes nuclei purple: the Romanowsky band at 552 nm (Friedrich, Seiffert &
  Zimmermann 1990, Histochemistry 93:247-256);
- hemoglobin, which is a pigment and not a dye: Soret band at 415 nm, 541 and 576 nm.

The uptake by structures follows Horobin & Walter (1987, Histochemistry 86:331-336) and Wittekind (1979, Clin Lab
Haematol 1:247-262, doi 10.1111/j.1365-2257.1979.tb01090.x). The amounts were fitted so that `clinic-like` has the
colors of Hospital Clínic's smears; only their approximate ratios are meaningful.
"""

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Spectra: TypeAlias = NDArray[np.float32]
"""One row per dye or structure, one column per wavelength of `WAVELENGTHS_NM`, float32[K, W]."""

WAVELENGTHS_NM: Final = np.arange(400, 701, 25, dtype=np.float32)
REFERENCE_PH: Final = 6.8
_PH_SLOPE = 2.2
_LN_10 = np.log(10.0)


class Structure(IntEnum):
    """Structures that take up dye. A cell is one thickness map per structure; 1.0 is the usual optical thickness."""

    CHROMATIN = 0
    RNA = 1
    PROTEIN = 2
    AZUROPHIL = 3
    EOSINOPHIL = 4
    BASOPHIL = 5
    RED_CELL = 6


class Dye(IntEnum):
    """Dyes and pigments, which absorb light."""

    AZURE_MONOMER = 0
    AZURE_BOUND = 1
    EOSIN = 2
    COMPLEX = 3
    HEMOGLOBIN = 4


# (peak nm, standard deviation nm, height relative to the main band)
_BANDS: Final[dict[Dye, tuple[tuple[float, float, float], ...]]] = {
    Dye.AZURE_MONOMER: ((647.0, 22.0, 1.0), (602.0, 24.0, 0.45), (420.0, 40.0, 0.04)),
    Dye.AZURE_BOUND: ((590.0, 34.0, 1.0), (560.0, 40.0, 0.5)),
    Dye.EOSIN: ((525.0, 16.0, 1.0), (492.0, 18.0, 0.35), (430.0, 45.0, 0.12)),
    Dye.COMPLEX: ((552.0, 18.0, 1.0), (512.0, 24.0, 0.45), (430.0, 50.0, 0.03)),
    Dye.HEMOGLOBIN: ((415.0, 20.0, 6.0), (541.0, 14.0, 1.0), (576.0, 10.0, 1.0), (470.0, 60.0, 0.4)),
}

# Absorbance at the main band of a structure of thickness 1, in the reference bath. Columns as in `Dye`.
_AFFINITY: Final[dict[Structure, tuple[float, float, float, float, float]]] = {
    Structure.CHROMATIN: (0.45, 0.70, 0.00, 3.30, 0.0),
    Structure.RNA: (0.15, 0.66, 0.55, 0.00, 0.0),
    Structure.PROTEIN: (0.13, 0.04, 0.35, 0.00, 0.0),
    Structure.AZUROPHIL: (0.26, 0.00, 0.00, 0.94, 0.0),
    Structure.EOSINOPHIL: (0.00, 0.28, 1.20, 0.00, 0.0),
    Structure.BASOPHIL: (0.52, 0.60, 0.00, 4.60, 0.0),
    Structure.RED_CELL: (0.00, 0.16, 0.19, 0.00, 0.058),
}


class StainBath(BaseModel):
    """A stain bath: relative amounts of the dyes and acidity. The defaults are the reference bath.

    Attributes:
        azure_b: amount of azure B taken up at the reference acidity, relative to the reference.
        eosin_y: amount of eosin Y taken up at the reference acidity, relative to the reference.
        complex_formed: fraction of the purple azure B-eosin Y complex that has formed. It forms last, so nuclei stay
            blue after a short stain (Horobin & Walter 1987).
        ph: pH of the buffer. Below 6.8 more eosin is taken up, above 6.8 more azure B.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    azure_b: float = Field(default=1.0, ge=0.0, le=4.0)
    eosin_y: float = Field(default=1.0, ge=0.0, le=4.0)
    complex_formed: float = Field(default=1.0, ge=0.0, le=1.0)
    ph: float = Field(default=REFERENCE_PH, ge=5.0, le=8.5)


def dye_spectra() -> Spectra:
    """Return the absorption of each dye, float32[dyes, wavelengths], about 1.0 at its main band."""
    rows = []
    for dye in Dye:
        bands = [height * np.exp(-(((WAVELENGTHS_NM - peak) / sd) ** 2) / 2.0) for peak, sd, height in _BANDS[dye]]
        rows.append(np.sum(bands, axis=0))
    return np.asarray(rows, dtype=np.float32)


def dye_uptake(bath: StainBath) -> NDArray[np.float32]:
    """Return the uptake of each dye by structures of thickness 1, float32[structures, dyes], as absorbance.

    The ionization of the substrate changes the uptake of both dyes in opposite directions around pH 6.8 (logistic).
    The part of the complex that has not formed is bound azure B.
    """
    amounts = np.asarray([_AFFINITY[structure] for structure in Structure], dtype=np.float32)
    azure = bath.azure_b * 2.0 / (1.0 + np.exp(_PH_SLOPE * (REFERENCE_PH - bath.ph)))
    eosin = bath.eosin_y * 2.0 / (1.0 + np.exp(_PH_SLOPE * (bath.ph - REFERENCE_PH)))
    purple = amounts[:, Dye.COMPLEX].copy()
    amounts[:, Dye.AZURE_MONOMER] *= azure
    amounts[:, Dye.AZURE_BOUND] = azure * (amounts[:, Dye.AZURE_BOUND] + 0.6 * (1.0 - bath.complex_formed) * purple)
    amounts[:, Dye.EOSIN] *= eosin
    amounts[:, Dye.COMPLEX] = purple * bath.complex_formed * np.sqrt(azure * eosin)
    return amounts


def transmittance(thickness: NDArray[np.float32], bath: StainBath) -> NDArray[np.float32]:
    """Return the fraction of light that passes, float32[wavelengths, P, P], 0..1 (Beer-Lambert).

    Args:
        thickness: float32[structures, P, P], 0 where a structure is absent.
        bath: the stain of the film.
    """
    per_structure = dye_uptake(bath) @ dye_spectra()
    absorbance = (-_LN_10 * per_structure.T) @ thickness.reshape(len(thickness), -1)
    passed: NDArray[np.float32] = np.exp(absorbance).reshape(len(WAVELENGTHS_NM), *thickness.shape[1:])
    return passed
