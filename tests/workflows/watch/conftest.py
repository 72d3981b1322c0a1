"""Cells that arrive, and the model that re-stains them."""

import shutil
from pathlib import Path

import pytest
from watched_folder import cells_of

from hemabridge.models import open_model
from hemabridge.models.bundled import BundleModel
from hemabridge.workflows.export.export import Exported


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of the source of two days, and of a hospital that the model does not know."""
    out = tmp_path_factory.mktemp("images")
    cells_of("yellow-field", out / "yellow-field", count=6)
    cells_of("dark-blurred", out / "dark-blurred", count=6)
    cells_of("yellow-field", out / "next-day", seed=8, count=6)
    return out


@pytest.fixture(scope="session")
def model(guarded_bundle: Exported) -> BundleModel:
    """A normalizer with guard and profiles, as a bundle."""
    opened = open_model(guarded_bundle.path)
    assert isinstance(opened, BundleModel)
    return opened


@pytest.fixture
def source(images: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(images / "next-day", tmp_path / "in"))
