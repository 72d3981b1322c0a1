"""Unmixing: from the color of a real pixel to the amounts of stained structures, for a known hospital.

A camera gives three numbers, and a cell has seven structures. Of all amounts that give the color, the smallest ones are
taken (a ridge penalty; amounts are in units of the usual thickness, so that they are comparable). The part of a color
that no amounts explain is a residual, which the caller keeps.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.simulate.camera import Camera, response
from hemabridge.data.simulate.hospitals import Hospital
from hemabridge.data.simulate.stain import StainBath, dye_spectra, dye_uptake

_RIDGE: Final = 3e-4
_LINEARIZATIONS: Final = 4
_NEWTON_STEPS: Final = 6
_LN_10 = np.float32(np.log(10.0))


def density(amounts: NDArray[np.float32], bath: StainBath, camera: Camera) -> NDArray[np.float32]:
    """Return the optical density -log10(light) of each camera channel, float32[N, 3].

    Args:
        amounts: thickness of each structure, float32[N, structures], at least 0.
        bath: the stain of the film.
        camera: its lamp and sensor.
    """
    light = np.exp(-_LN_10 * (amounts @ _absorbance(bath))) @ response(camera).T
    thick: NDArray[np.float32] = -np.log10(np.maximum(light, np.float32(1e-8)))
    return thick


def unmixed(densities: NDArray[np.float32], hospital: Hospital) -> NDArray[np.float32]:
    """Return the amounts of the structures that give these optical densities in a hospital.

    Least squares with amounts of at least 0 and a small ridge penalty. Densities of light of several wavelengths do not
    add up, so the problem is linearized around the last solution (Gauss-Newton) and solved by a finite Newton method
    (Mangasarian 2002, Optim Methods Softw 17:913-929, doi 10.1080/1055678021000028375).

    Args:
        densities: optical density of each camera channel, float32[N, 3]; below 0 is lighter than clear glass.
        hospital: the hospital of the picture.

    Returns:
        float32[N, structures], in units of the usual thickness.
    """
    absorbance, weights = _absorbance(hospital.bath), response(hospital.camera)
    amounts = np.zeros((len(densities), len(absorbance)), dtype=np.float32)
    for _ in range(_LINEARIZATIONS):
        passed = np.exp(-_LN_10 * (amounts @ absorbance))
        light = np.maximum(passed @ weights.T, np.float32(1e-8))
        # d(density of channel c) / d(amount k): the mean absorbance of k over the light that reaches channel c.
        slope = (passed[:, None, :] * weights) @ absorbance.T / light[:, :, None]
        wanted = densities + np.log10(light) + (slope @ amounts[:, :, None])[:, :, 0]
        amounts = _nonnegative(slope, wanted)
    return amounts


def _absorbance(bath: StainBath) -> NDArray[np.float32]:
    return dye_uptake(bath) @ dye_spectra()


def _nonnegative(slope: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the ridge solutions of `slope @ amounts = wanted` with amounts of at least 0, float32[N, structures].

    The dual problem has only as many unknowns as channels: amounts = max(0, slope^T missed) / ridge, where `missed` is
    the unexplained part. Newton's method finds the amounts that are above 0 (Mangasarian 2002).
    """
    missed = wanted
    for _ in range(_NEWTON_STEPS):
        used = slope * ((missed[:, None, :] @ slope) > 0)
        curvature = np.eye(3, dtype=np.float32) + used @ slope.transpose(0, 2, 1) / _RIDGE
        missed = np.linalg.solve(curvature, wanted[:, :, None])[:, :, 0]
    amounts: NDArray[np.float32] = np.maximum((missed[:, None, :] @ slope)[:, 0, :], 0.0) / _RIDGE
    return amounts
