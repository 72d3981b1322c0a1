"""A fitted map that sends a compartment to colors that it does not have at the target is seen and told."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.errors import InputError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.scale import crop_center, resize_square
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers import catalog
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.normalizers.images import fit_normalizer
from hemabridge.normalizers.plausibility import faults_of
from hemabridge.normalizers.stain_separation import Vahadane
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.workflows.fit import fit

CLASSES = ("neutrophil", "eosinophil", "lymphocyte")
SIZE_PX = 64


class Map:
    """Any map of colors, for all images alike."""

    def __init__(self, change: Callable[[UInt8Images], UInt8Images]) -> None:
        self.change = change

    def standardize(self, images: UInt8Images) -> UInt8Images:
        return self.change(images)


def cells(hospital: str, seed: int) -> UInt8Images:
    return simulate_cells(CLASSES, 8, HOSPITALS[hospital], seed, SIZE_PX)[0]


@pytest.fixture(scope="module")
def source() -> UInt8Images:
    return cells("yellow-field", 2)


@pytest.fixture(scope="module")
def target() -> UInt8Images:
    return cells(TARGET, 1)


def greener(images: UInt8Images) -> UInt8Images:
    """Exchange red and green: violet nuclei become green."""
    return np.ascontiguousarray(images[..., [1, 0, 2]])


def test_nuclei_that_become_green_are_told(target: UInt8Images) -> None:
    other = cells(TARGET, 5)
    faults = faults_of(Map(greener), other, target)
    assert any(fault.startswith("nuclei become Lab") for fault in faults)
    assert faults_of(Map(np.copy), other, target) == ()


def test_a_negative_is_told(target: UInt8Images) -> None:
    faults = faults_of(Map(lambda images: 255 - images), cells(TARGET, 5), target)
    assert any("nuclei become brighter" in fault for fault in faults)
    assert any("cytoplasm become brighter" in fault for fault in faults)


def test_a_map_that_only_falls_short_is_no_fault(source: UInt8Images, target: UInt8Images) -> None:
    assert faults_of(Map(np.copy), source, target) == ()


def test_too_few_cells_say_nothing(target: UInt8Images) -> None:
    assert faults_of(Map(greener), target[:5], target) == ()


@pytest.mark.parametrize("name", NORMALIZERS)
def test_no_simulated_hospital_gets_an_implausible_map(name: str, source: UInt8Images, target: UInt8Images) -> None:
    assert fit_on_cells(name, source, target).faults == ()


def test_dyes_that_do_not_belong_together_are_not_exchanged(source: UInt8Images, target: UInt8Images) -> None:
    """Of the overstained hospital the factorization finds a dye that is no eosin; red cells became violet."""
    overstained, wanted = (
        simulate_cells(CLASSES, 10, HOSPITALS[name], seed, SIZE_PX)[0]
        for name, seed in (("overstained", 2), (TARGET, 1))
    )
    fitted = Vahadane.fit(overstained, wanted)
    assert "are different ones (red cells become Lab" in fitted.note
    assert fitted.source_vectors == fitted.target_vectors
    assert faults_of(fitted, overstained, wanted) == ()
    usual = Vahadane.fit(source, target)
    assert usual.note == ""
    assert usual.source_vectors != usual.target_vectors


def broken_fit(_source: UInt8Images, target: UInt8Images) -> WhitePoint:
    return WhitePoint(target_white=(40.0, 250.0, 40.0))


def test_fit_refuses_an_implausible_map_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: UInt8Images, target: UInt8Images
) -> None:
    monkeypatch.setattr(catalog.NORMALIZERS["white-point"].kind, "fit", broken_fit)
    told = r"expected white-point to give the cells.*nuclei become Lab.*source and target are not swapped"
    with pytest.raises(InputError, match=told):
        fit_normalizer("white-point", source[::2], target[::2], source_crop_px="whole", target_crop_px="whole")
    for folder, images in (("source", source), ("target", target)):
        for place, image in enumerate(images[::2]):
            write_image(tmp_path / folder / f"{place:02d}.png", image)
    with pytest.raises(InputError, match=told):
        fit(
            "white-point",
            tmp_path / "source",
            tmp_path / "target",
            tmp_path / "m.json",
            source_crop_px=SIZE_PX,
            target_crop_px=SIZE_PX,
        )
    assert not (tmp_path / "m.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["macenko", "vahadane"])
def test_nuclei_of_another_collection_stay_violet(name: str, shared_data: Path) -> None:
    with (shared_data / "bccd" / "boxes.csv").open(encoding="utf-8") as file:
        boxes = [row for row in csv.DictReader(file) if row["kind"] == "WBC"][::4]
    own = []
    for row in boxes:
        field = read_image(shared_data / "bccd" / "fields" / row["field"])
        middle = [(int(row[f"{axis}min"]) + int(row[f"{axis}max"])) // 2 for axis in "yx"]
        around = np.pad(field, ((235, 235), (235, 235), (0, 0)), mode="edge")
        square = around[middle[0] + 118 : middle[0] + 353, middle[1] + 118 : middle[1] + 353]
        own.append(resize_square(np.ascontiguousarray(square), 96))
    files = [path for kind in sorted((shared_data / "clinic").iterdir()) for path in sorted(kind.glob("*.jpg"))[:20]]
    target = np.stack([resize_square(crop_center(read_image(path), 180), 96) for path in files])
    fitted = fit_on_cells(name, np.stack(own), target)
    assert fitted.faults == ()
    assert "are different ones" in fitted.note
