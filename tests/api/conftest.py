"""Cells of two simulated hospitals."""

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.standardizer import UInt8Images

CLASSES = ("neutrophil", "lymphocyte")


def _cells(hospital: str, seed: int) -> UInt8Images:
    images, _ = simulate_cells(CLASSES, 6, HOSPITALS[hospital], seed, 48)
    images.setflags(write=False)
    return images


@pytest.fixture(scope="session")
def theirs() -> UInt8Images:
    """Uint8[12, 48, 48, 3], six cells of each of two classes in order."""
    return _cells("yellow-field", 1)


@pytest.fixture(scope="session")
def ours() -> UInt8Images:
    return _cells("clinic-like", 2)


@pytest.fixture(scope="session")
def labels() -> list[int]:
    return np.repeat([0, 1], 6).tolist()
