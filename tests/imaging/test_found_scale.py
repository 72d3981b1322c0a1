from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.found_scale import FoundScale, read_scale, scale_in

SCALE = FoundScale(0.0832, 30)


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    path = tmp_path / "001.png"
    image = np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8)
    write_image(path, image, description=SCALE.mark)
    return path


def test_the_file_of_a_crop_states_its_scale_and_keeps_its_pixels(crop: Path) -> None:
    assert read_scale(crop) == SCALE
    assert scale_in(crop.read_bytes()) == SCALE
    assert read_image(crop).shape == (30, 30, 3)
    assert Image.open(crop).text["Description"] == "hemabridge cell: um_per_px=0.083200 side_px=30;"


def test_the_mark_of_a_picture_that_was_resized_does_not_hold(crop: Path, tmp_path: Path) -> None:
    with Image.open(crop) as picture:
        info = PngInfo()
        info.add_text("Description", picture.text["Description"])
        picture.resize((15, 15)).save(tmp_path / "small.png", pnginfo=info)
        picture.save(tmp_path / "same.png", pnginfo=info)
    assert read_scale(tmp_path / "small.png") is None
    assert read_scale(tmp_path / "same.png") == SCALE


def test_other_files_state_no_scale(crop: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "plain.png", read_image(crop))
    (tmp_path / "text.png").write_text(SCALE.mark)
    assert [read_scale(tmp_path / name) for name in ("plain.png", "text.png", "missing.png", "")] == [None] * 4


@pytest.mark.parametrize("um_per_px", [0.0, 12.0, float("nan")])
def test_a_scale_that_no_microscope_has_leaves_no_mark(um_per_px: float) -> None:
    assert FoundScale(um_per_px, 30).mark == ""
