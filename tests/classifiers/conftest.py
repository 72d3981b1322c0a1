"""Cells that are easy to tell apart, and a device to learn them on."""

from collections.abc import Callable

import numpy as np
import pytest
from lightning_fabric import Fabric

from hemabridge.data.cells import CellSet


@pytest.fixture(scope="session")
def cpu() -> Fabric:
    """One process on the CPU."""
    return Fabric(accelerator="cpu", devices=1)


def _easy_cells(count: int = 48, *, seed: int = 0, shares: tuple[int, ...] = (1, 1), size_px: int = 32) -> CellSet:
    rng = np.random.default_rng(seed)
    labels = np.resize(np.repeat(np.arange(len(shares)), shares), count).astype(np.int64)
    images = rng.integers(0, 90, (count, size_px, size_px, 3)) + 70 * labels[:, None, None, None]
    names = tuple(f"{seed}-{number}" for number in range(count))
    return CellSet(images.astype(np.uint8), labels, ("dark", "bright"), names, names, size_px)


@pytest.fixture(scope="session")
def easy_cells() -> Callable[..., CellSet]:
    """Make noise in two classes, one 70 gray levels brighter; `shares` says how often each occurs."""
    return _easy_cells
