"""`--crop-um`: the square around a cell in micrometers, at the scale that the images state."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.draw import disk

from hemabridge.data.manifest import read_manifest


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Images of a nucleus, whose files state 0.1 micrometers per pixel."""
    for number in range(4):
        image = np.full((240, 240, 3), (230, 225, 220), np.uint8)
        image[disk((120, 120), 36 + number)] = (90, 40, 130)
        path = tmp_path / "cells" / f"{number}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, image, photometric="rgb", resolution=(100_000, 100_000), resolutionunit="CENTIMETER")
    return tmp_path / "cells"


def test_a_crop_in_micrometers_is_that_of_the_scale_of_the_files(run: Callable, cells: Path) -> None:
    ended = run("index", cells, "--site", "a", "--crop-um", 18.4)
    assert ended.code == 0
    assert f"{cells}: 0.1 um per pixel (file), so that 18.4 um are 184 pixels" in ended.err
    assert set(read_manifest(cells / "manifest.csv").column("crop_px")) == {184}


@pytest.mark.parametrize("command", ["classify", "standardize"])
def test_it_holds_for_a_model_too(run: Callable, cells: Path, tmp_path: Path, command: str) -> None:
    ended = run(command, tmp_path / "no model", cells, tmp_path / "out", "--crop-um", 18.4)
    assert ended.code != 0
    assert "18.4 um are 184 pixels" in ended.err
    assert "no model" in ended.err


def test_two_crops_and_images_without_a_scale_are_refused(run: Callable, cells: Path) -> None:
    both = run("index", cells, "--site", "a", "--crop-um", 18, "--crop-px", 180)
    assert both.code != 0
    assert "expected a crop in pixels or in micrometers, got both (180 and 18)" in both.err
    for path in cells.iterdir():
        tifffile.imwrite(path, np.full((240, 240, 3), 230, np.uint8), photometric="rgb")
    blank = run("index", cells, "--site", "a", "--crop-um", 18)
    assert blank.code != 0
    assert "red cells state micrometers per pixel, got none; state the crop in pixels" in blank.err
