"""Fixtures that every test may use."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # nets in tests are too small to share between cores; before torch

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real images and weights; skips where it does not exist, unless it is required."""
    if not (SHARED / "data").is_dir():
        message = "needs the real images in ../shared/data, which do not exist here"
        if os.environ.get("HEMABRIDGE_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def shared_data(shared_dir: Path) -> Path:
    """`../shared/data`."""
    return shared_dir / "data"
