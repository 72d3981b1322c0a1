"""Images for all tests of `hemabridge standardize`."""

from pathlib import Path

import pytest
from PIL import Image
from restained_folder import picture


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A tree of five images of odd sizes in several formats."""
    folder = tmp_path / "in"
    for number, name in enumerate(("a.png", "b/c.jpg", "b/c.png", "b/d/Name with Blanks.TIF", "ü.bmp")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number, 32 + number, 41 - number)).save(path)
    return folder
