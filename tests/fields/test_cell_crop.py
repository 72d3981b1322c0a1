"""The square around a cell, by the red cells of all images of a site, or else by its nuclei."""

from pathlib import Path

import numpy as np
import pytest
from drawn_fields import UM, drawn

from hemabridge.fields.cell_crop import CELL_CROP_UM, CellSize, propose_crop_px
from hemabridge.fields.circles import Circle
from hemabridge.fields.red_cells import Discs
from hemabridge.imaging.files import read_image
from hemabridge.sampling import evenly_spaced


def discs(*diameters: float) -> Discs:
    return Discs.of([Circle(0.0, 0.0, diameter / 2, 1.0) for diameter in diameters])


def images(nucleus_um: float, reds: int) -> list[CellSize]:
    """Measure eight images of 30 um with one leukocyte in the middle."""
    side = round(30 / UM)
    return [
        CellSize.of(drawn((side, side), [(side / 2, side / 2, nucleus_um)], seed=seed, reds=reds)) for seed in range(8)
    ]


def test_red_cells_of_all_images_give_the_crop_whatever_the_nuclei_are() -> None:
    usual, swollen = (propose_crop_px(images(nucleus_um, 4)) for nucleus_um in (9.3, 10.4))
    assert usual == pytest.approx(CELL_CROP_UM / UM, rel=0.04)
    assert swollen == pytest.approx(CELL_CROP_UM / UM, rel=0.04)


def test_without_red_cells_the_median_nucleus_does() -> None:
    sizes = [CellSize(nucleus_px, Discs.of([])) for nucleus_px in (40.0, 50.0, 1000.0, None)]
    assert propose_crop_px(sizes) == round(50 / 0.53)
    assert propose_crop_px([CellSize(None, discs(*[70.0] * 20))]) is None
    assert propose_crop_px([]) is None


@pytest.mark.parametrize(
    "red_cells",
    [
        pytest.param(discs(*[85.0] * 11), id="few"),
        pytest.param(discs(*[105.0] * 40), id="as wide as the nuclei"),
        pytest.param(discs(*np.geomspace(50, 150, 14)), id="of many sizes"),
    ],
)
def test_discs_that_are_few_or_unlike_or_nuclei_do_not_count(red_cells: Discs) -> None:
    sizes = [CellSize(100.0, red_cells)]
    assert propose_crop_px(sizes) == round(100 / 0.53)
    assert propose_crop_px([CellSize(100.0, discs(*[85.0] * 40))]) == round(CELL_CROP_UM * 85 / 7.5)


def test_an_image_is_measured_once() -> None:
    one, other = (np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8) for seed in range(2))
    assert CellSize.of(one) is CellSize.of(one.copy())
    assert CellSize.of(other) is not CellSize.of(one)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("pattern", "crop_px"), [("clinic/*/*.jpg", 180), ("tecom/[!_]*/*.bmp", 87), ("raabin/unlabelled/*.jpg", 303)]
)
def test_the_crops_of_three_laboratories(shared_data: Path, pattern: str, crop_px: int) -> None:
    paths = sorted(shared_data.glob(pattern))
    chosen = [paths[place] for place in evenly_spaced(len(paths), 40)]
    assert propose_crop_px(CellSize.of(read_image(path)) for path in chosen) == pytest.approx(crop_px, rel=0.05)
