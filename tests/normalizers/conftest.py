"""Sets of simulated cells: the same cells under several hospitals, other cells for fitting."""

from collections.abc import Callable

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.imaging.standardizer import UInt8Images

CLASSES = ("neutrophil", "eosinophil", "lymphocyte")
SIZE_PX = 48

Simulated = Callable[..., UInt8Images]


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    """Cells of a hospital, uint8[12, 48, 48, 3]; the same cells for the same seed."""
    known: dict[tuple[str, int, bool], UInt8Images] = {}

    def cells(hospital: str, seed: int, *, noise: bool = True) -> UInt8Images:
        key = hospital, seed, noise
        if key not in known:
            known[key], _ = simulate_cells(CLASSES, 4, HOSPITALS[hospital], seed, SIZE_PX, noise=noise)
            known[key].setflags(write=False)
        return known[key]

    return cells


@pytest.fixture(scope="session")
def target(simulated: Simulated) -> UInt8Images:
    return simulated(TARGET, 1)


@pytest.fixture(scope="session")
def source(simulated: Simulated) -> UInt8Images:
    return simulated("yellow-field", 2)


@pytest.fixture(scope="session")
def odd_images() -> dict[str, UInt8Images]:
    """Images that show no cell, or hardly: each a set of one image."""
    noise = np.random.default_rng(0)
    disc = np.hypot(*(np.indices((32, 32)) - 15.5)) < 8
    one_stain = np.where(disc[..., None], (70, 40, 120), (230, 225, 210)).astype(np.uint8)
    return {
        "black": np.zeros((1, 16, 16, 3), np.uint8),
        "white": np.full((1, 16, 16, 3), 255, np.uint8),
        "empty field": np.full((1, 16, 16, 3), (240, 230, 160), np.uint8),
        "noisy empty field": np.clip(noise.normal(230, 3, (1, 32, 32, 3)), 0, 255).astype(np.uint8),
        "pale": np.clip(noise.normal(240, 3, (1, 32, 32, 3)) - 8 * disc[..., None], 0, 255).astype(np.uint8),
        "one stain": one_stain[None],
        "one pixel": np.full((1, 1, 1, 3), (120, 60, 140), np.uint8),
        "one row": noise.integers(0, 256, (1, 1, 40, 3)).astype(np.uint8),
        "one color channel": noise.integers(0, 256, (1, 20, 20, 3)).astype(np.uint8) * np.array([1, 0, 0], np.uint8),
        "noise": noise.integers(0, 256, (1, 33, 21, 3)).astype(np.uint8),
    }
