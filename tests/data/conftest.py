"""Fixtures of the tests of images and manifests."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hemabridge.data.manifest import Manifest, make_manifest
from hemabridge.imaging.files import write_image


@pytest.fixture
def site_dir(tmp_path: Path) -> Path:
    """A site with `a/1.png` and `b/2.png`."""
    root = tmp_path / "site"
    for number, name in enumerate(("a/1.png", "b/2.png"), start=1):
        (root / name).parent.mkdir(parents=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(root / name)
    return root


def cell(seed: int, *, size_px: int = 96, nucleus_px: float = 40.0) -> NDArray[np.uint8]:
    """Draw a nucleus of a known diameter, cytoplasm and red cells on a bright field, with a texture of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] - (size_px - 1) / 2
    image = np.full((size_px, size_px, 3), (235, 225, 215), dtype=np.float64)
    for _ in range(6):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.42, 0.6) * size_px
        image[np.hypot(y - reach * np.sin(angle), x - reach * np.cos(angle)) < 0.09 * size_px] = (200, 160, 150)
    image[np.hypot(y, x) < 0.75 * nucleus_px] = (190, 180, 215)
    image[np.hypot(y, x) < nucleus_px / 2] = (90, 40, 130)
    texture = np.kron(rng.normal(0, 14, (size_px // 6, size_px // 6, 1)), np.ones((6, 6, 1)))
    return np.clip(image + texture, 0, 255).astype(np.uint8)


@pytest.fixture(name="cell")
def cell_fixture() -> Callable[..., NDArray[np.uint8]]:
    """The function `cell`."""
    return cell


@pytest.fixture
def make_site() -> Callable[..., Manifest]:
    """A function that writes one cell per name below a folder and returns their manifest; class is the folder."""

    def make(
        root: Path, names: Sequence[str], *, site: str = "here", first_seed: int = 0, nucleus_px: float = 40.0
    ) -> Manifest:
        for number, name in enumerate(names):
            write_image(root / name, cell(first_seed + number, nucleus_px=nucleus_px))
        folders = [Path(name).parent.name for name in names]
        classes = ["" if folder == "unlabeled" else folder for folder in folders]
        return make_manifest({"path": list(names), "site": [site] * len(names), "class": classes}, root)

    return make
