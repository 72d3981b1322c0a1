from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest
from hemabridge.errors import ManifestError


def put(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (number % 256, 80, 90)).save(root / name)
    return root


def rows(manifest: Manifest) -> set[tuple[str, str]]:
    return set(manifest.table.select("class", "patient").rows())


BOTH = {(kind, patient) for kind in ("neutrophil", "monocyte") for patient in ("Patient_1", "Patient_2")}


@pytest.mark.parametrize(
    "pattern",
    [
        "{patient}/Signed slides/{kind}/x.png",
        "{kind}/{patient}/x.png",
        "export/{patient}/{kind}/x.png",
        "export/{kind}/{patient}/x.png",
        "Train/{kind}/{patient}/x.png",
        "export/Train/{patient}/{kind}/x.png",
        "{kind}/{patient}/slide 1/x.png",
    ],
)
def test_classes_and_patients_are_told_apart(tmp_path: Path, pattern: str) -> None:
    names = [pattern.format(kind=kind, patient=patient) for kind, patient in BOTH]
    assert rows(index_folder(put(tmp_path, *names), "x").manifest) == BOTH


@pytest.mark.parametrize("pattern", ["{kind}/{patient}/x.png", "{patient}/{kind}/x.png"])
@pytest.mark.parametrize("kinds", [("neutrophil", "monocyte"), ("one", "other")])
def test_names_that_repeat_below_the_others_tell_it_too(tmp_path: Path, pattern: str, kinds: tuple[str, ...]) -> None:
    patients = [f"{number}-K" for number in range(31, 36)]
    names = [pattern.format(kind=kind, patient=patient) for kind in kinds for patient in patients]
    found = rows(index_folder(put(tmp_path, *names), "x").manifest)
    assert found == {(kind, patient) for kind in kinds for patient in patients}


def test_wrappers_are_no_classes_and_days_no_patients(tmp_path: Path) -> None:
    put(tmp_path / "a", "export 3/blast/1.png", "export 3/odd cell/1.png")
    assert rows(index_folder(tmp_path / "a", "x").manifest) == {("blast", ""), ("odd cell", "")}
    put(tmp_path / "b", "neutrophil/day 1/1.png", "neutrophil/day 2/1.png", "monocyte/day 1/1.png")
    assert rows(index_folder(tmp_path / "b", "x").manifest) == {("neutrophil", ""), ("monocyte", "")}
    put(tmp_path / "c", "Patient 1/1.png", "Patient 2/1.png")
    assert rows(index_folder(tmp_path / "c", "x").manifest) == {("", "Patient 1"), ("", "Patient 2")}
    put(tmp_path / "d", "monocyte/slide 1/1.png", "neutrophil/slide 2/1.png")
    assert index_folder(tmp_path / "d", "x").manifest.column("slide") == ["slide 1", "slide 2"]


def test_what_cannot_be_told_is_asked(tmp_path: Path) -> None:
    names = [f"{first}/{second}/x.png" for first in ("u", "v", "w") for second in ("r", "s")]
    put(tmp_path, *names)
    with pytest.raises(ManifestError, match=r"--classes-at N.*--patients-at N"):
        index_folder(tmp_path, "x")
    stated = index_folder(tmp_path, "x", classes_at=2, patients_at=1).manifest
    assert rows(stated) == {(kind, patient) for patient in "uvw" for kind in "rs"}
    assert rows(index_folder(tmp_path, "x", patients_at=2).manifest) == {(kind, p) for kind in "uvw" for p in "rs"}
    assert rows(index_folder(tmp_path, "x", classes_at=1).manifest) == {(kind, "") for kind in "uvw"}
    assert rows(index_folder(tmp_path, "x", classes_at=0).manifest) == {("", "")}


def test_a_stated_level_counts_the_folder_of_the_split(tmp_path: Path) -> None:
    put(tmp_path, "train/u/r/x.png", "test/v/s/x.png")
    assert rows(index_folder(tmp_path, "x", classes_at=3, patients_at=2).manifest) == {("r", "u"), ("s", "v")}


def test_folders_of_work_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "runs/1.png", "clinic/2.png", "tecom/3.png")
    with pytest.raises(ManifestError, match=r"got 'runs' among 3, which are no classes.*--classes-at"):
        index_folder(tmp_path, "x")
    assert Counter(index_folder(tmp_path, "x", classes_at=1).manifest.column("class"))["runs"] == 1


@pytest.mark.parametrize("name", ["fields", "masks", "found", "restained"])
def test_fields_masks_and_results_are_no_classes(tmp_path: Path, name: str) -> None:
    put(tmp_path, "clinic/lymphocyte/1.png", "clinic/monocyte/2.png", f"other/{name}/3.png")
    with pytest.raises(ManifestError, match=f"got '{name}' among 3, which are no classes"):
        index_folder(tmp_path, "x")


def test_a_folder_of_several_sites_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "clinic/lymphocyte/1.png", "clinic/monocyte/2.png", "new/3.png", "unlabeled/4.png")
    with pytest.raises(ManifestError, match=r"expected one site.*right in 'new', as if these.*--classes-at N"):
        index_folder(tmp_path, "x")
    stated = index_folder(tmp_path, "x", classes_at=2, patients_at=1).manifest
    assert ("", "new") in rows(stated)
    put(tmp_path / "by patient", "patient 1/lymphocyte/1.png", "patient 2/monocyte/2.png", "patient 2/3.png")
    assert ("", "patient 2") in rows(index_folder(tmp_path / "by patient", "x").manifest)
