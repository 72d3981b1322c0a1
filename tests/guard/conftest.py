"""Simulated cells for the guard."""

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging.standardizer import UInt8Images

CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")


@pytest.fixture(scope="session")
def target() -> UInt8Images:
    return simulate_cells(CLASSES, 10, HOSPITALS["clinic-like"], 3, 64)[0]


@pytest.fixture(scope="session")
def source() -> UInt8Images:
    return simulate_cells(CLASSES, 3, HOSPITALS["yellow-field"], 4, 64)[0]


@pytest.fixture(scope="session")
def odd_pairs() -> dict[str, tuple[UInt8Images, UInt8Images]]:
    """Pictures that are no cells, before and after."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)
    flat = {level: np.full((1, 40, 40, 3), level, np.uint8) for level in (0, 120, 255)}
    two = flat[255].copy()
    two[:, :20] = 0
    pixel = np.full((1, 1, 1, 3), 9, np.uint8)
    return {
        "black": (flat[0], flat[0]),
        "one color to another": (flat[120], flat[255]),
        "two colors": (two, 255 - two),
        "noise to one color": (noise, flat[120]),
        "one color to noise": (flat[120], noise),
        "noise": (noise, noise[:, ::-1]),
        "one pixel": (pixel, pixel + 1),
        "a line": (noise[:, :1], noise[:, 1:2]),
    }
