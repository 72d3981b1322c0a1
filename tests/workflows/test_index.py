import shutil
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.manifest import read_manifest
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import ManifestError
from hemabridge.imaging.files import write_image
from hemabridge.workflows.index import index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("neutrophil/1.png", "lymphocyte/2.png"):
        write_image(tmp_path / "site" / name, np.full((6, 5, 3), len(name), dtype=np.uint8))
    return tmp_path / "site"


def test_writes_the_manifest_beside_the_images(folder: Path) -> None:
    found = index(folder, "clinic", crop_px=180)
    manifest = read_manifest(folder / "manifest.csv")
    assert manifest.table.equals(found.manifest.table)
    assert manifest.column("class") == ["lymphocyte", "neutrophil"]
    assert manifest.column("crop_px") == [180, 180]


def test_writes_it_elsewhere_to_be_read_with_root(folder: Path, tmp_path: Path) -> None:
    index(folder, "clinic", out=tmp_path / "lists" / "clinic.csv")
    assert read_manifest(tmp_path / "lists" / "clinic.csv", root=folder).paths()[0].is_file()
    assert not (folder / "manifest.csv").exists()


def test_does_not_overwrite_what_was_filled_in_by_hand(folder: Path) -> None:
    (folder / "manifest.csv").write_text("mine")
    with pytest.raises(ManifestError, match="--replace"):
        index(folder, "clinic")
    assert (folder / "manifest.csv").read_text() == "mine"
    assert len(index(folder, "clinic", replace=True).manifest) == 2


def test_estimates_the_crop_when_asked(tmp_path: Path) -> None:
    images, _ = simulate_cells(("neutrophil",), 2, HOSPITALS["clinic-like"], 0, 96)
    for number, image in enumerate(images):
        write_image(tmp_path / f"neutrophil/{number}.png", image)
    assert set(index(tmp_path, "x").manifest.column("crop_px")) == {None}
    found = index(tmp_path, "x", estimate_crop=True, replace=True)
    assert 48 < found.manifest.column("crop_px")[0] < 192
    assert read_manifest(tmp_path / "manifest.csv").column("crop_px") == found.manifest.column("crop_px")
    with pytest.raises(ManifestError, match="got both"):
        index(tmp_path, "x", crop_px=90, estimate_crop=True, replace=True)


def test_warns_of_whole_fields_and_says_what_to_do(drawn_field: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        shutil.copyfile(drawn_field, tmp_path / name)
    found = index(tmp_path, "ours")
    assert found.warning.startswith(f"warning: 3 of 3 images of {tmp_path} that were checked are whole fields")
    assert "hemabridge find" in found.warning


def test_does_not_warn_of_cells(hospitals: Path, tmp_path: Path) -> None:
    assert index(hospitals / "clinic-like", "ours", out=tmp_path / "manifest.csv").warning == ""
