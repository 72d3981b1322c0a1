"""A picture for the tests that read and write files."""

import numpy as np
import pytest


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture in which every corner differs, uint8[24, 40, 3]."""
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([rows * 10, columns * 6, 255 - rows * 5 - columns], axis=-1).astype(np.uint8)
