import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.data.index import index_folder
from hemabridge.data.manifest import read_manifest, write_manifest
from hemabridge.errors import ManifestError
from hemabridge.storage.files import sha256_of


def put(root: Path, *names: str) -> None:
    """Write a small image of its own for each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), tuple(os.urandom(3))).save(path)


def classes_of(root: Path, *, subclasses: bool = False) -> dict[str, str]:
    manifest = index_folder(root, "x", subclasses=subclasses).manifest
    return dict(zip(manifest.column("path"), manifest.column("class"), strict=True))


def test_a_folder_per_class(tmp_path: Path) -> None:
    put(tmp_path, "neutrophil/1.png", "Blast cell/day 1/2.jpg", "3.bmp", "unlabeled/4.png", "_masks/1.png", ".x/5.png")
    put(tmp_path, "neutrophil/_overlay.png", "neutrophil/.hidden.png")
    (tmp_path / "README.txt").write_text("about")
    seen: list[tuple[int, int]] = []
    index = index_folder(tmp_path, "clinic", crop_px=180, progress=lambda done, total: seen.append((done, total)))
    manifest = index.manifest
    assert manifest.table.select("path", "class").rows() == [
        ("3.bmp", ""),
        ("Blast cell/day 1/2.jpg", "Blast cell"),
        ("neutrophil/1.png", "neutrophil"),
        ("unlabeled/4.png", ""),
    ]
    assert set(manifest.column("site")) == {"clinic"}
    assert set(manifest.column("width")) == {5}
    assert set(manifest.column("height")) == {4}
    assert set(manifest.column("crop_px")) == {180}
    assert manifest.column("sha256") == [sha256_of(path) for path in manifest.paths()]
    assert (index.unreadable, index.without_images) == ((), ())
    assert {left.kind: left.paths for left in index.left_out} == {
        "beginning with _": ("_masks/", "neutrophil/_overlay.png"),
        "hidden": (".x/", "neutrophil/.hidden.png"),
        "not images by name": ("README.txt",),
    }
    assert seen[-1] == (4, 4)


def test_what_was_indexed_can_be_read_back(tmp_path: Path) -> None:
    put(tmp_path, "a/=1.png", "-2.png")
    manifest = index_folder(tmp_path, "x").manifest
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv").table.equals(manifest.table)


def test_files_that_cannot_be_used_are_listed_with_the_reason(tmp_path: Path) -> None:
    put(tmp_path / "site", "a/1.png")
    put(tmp_path, "outside/1.png")
    site = tmp_path / "site"
    whole = (site / "a/1.png").read_bytes()
    (site / "a/cut.png").write_bytes(whole[: len(whole) // 2])
    (site / "a/text.jpg").write_text("hello")
    (site / "a/empty.png").write_bytes(b"")
    (site / "a/line\nbreak.png").write_bytes(whole)
    (site / "a" / os.fsdecode(b"\xff.png")).write_bytes(whole)
    os.symlink(tmp_path / "outside/1.png", site / "a/link.png")
    os.symlink(site, site / "a/loop.png")
    os.mkfifo(site / "a/pipe.png")
    index = index_folder(site, "x")
    assert index.manifest.column("path") == ["a/1.png"]
    reasons = {unreadable.path: unreadable.reason for unreadable in index.unreadable}
    assert set(reasons) == {
        "a/cut.png",
        "a/text.jpg",
        "a/empty.png",
        "a/line\\nbreak.png",
        "a/\\udcff.png",
        "a/link.png",
        "a/loop.png",
        "a/pipe.png",
    }
    assert "link that leaves" in reasons["a/link.png"]
    assert "rename" in reasons["a/line\\nbreak.png"]
    assert reasons["a/text.jpg"].startswith("expected a whole JPEG")


def test_names_that_no_manifest_may_hold_leave_out_their_own_files_alone(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "C:evil.png", "C:x/1.png", "=b/1.png", "-b/1.png", " b/1.png", "+b/1.png")
    put(tmp_path, "ab:c/2.png")
    index = index_folder(tmp_path, "x")
    assert index.manifest.column("path") == ["a/1.png", "ab:c/2.png"]
    reasons = {unreadable.path: unreadable.reason for unreadable in index.unreadable}
    assert len(reasons) == 6
    assert "drive" in reasons["C:evil.png"]
    assert "drive" in reasons["C:x/1.png"]
    assert "rename the folder" in reasons["=b/1.png"]
    assert "blanks" in reasons[" b/1.png"]


def test_a_file_that_vanishes_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.png", "a/2.png")

    def hashed(path: Path) -> str:
        if path.name == "1.png":
            path.unlink()
        return sha256_of(path)

    monkeypatch.setattr("hemabridge.data.index.sha256_of", hashed)
    index = index_folder(tmp_path, "x")
    assert index.manifest.column("path") == ["a/2.png"]
    assert [file.path for file in index.unreadable] == ["a/1.png"]


def test_folders_without_an_image_are_told(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png")
    for name in ("train/b", "c/d", "_e", "line\nbreak"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "train/b/1.avif").touch()
    (tmp_path / "train/a/no_suffix").touch()
    (tmp_path / "link").symlink_to(tmp_path / "train")
    index = index_folder(tmp_path, "x")
    assert index.without_images == ("c", "c/d", "line\\nbreak", "train/b")
    assert {left.kind: left.paths for left in index.left_out} == {
        "beginning with _": ("_e/",),
        "links to folders": ("link",),
        "not images by name": ("train/a/no_suffix", "train/b/1.avif"),
    }


def test_refuses_nothing_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ManifestError, match=r"got other files \(1 .*\), and 0 unreadable"):
        index_folder(tmp_path, "x")
    for path in (tmp_path / "notes.txt", tmp_path / "no"):
        with pytest.raises(ManifestError, match="a folder of images"):
            index_folder(path, "x")


def test_refuses_a_site_name_that_no_manifest_may_hold(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    with pytest.raises(ManifestError, match="column site"):
        index_folder(tmp_path, "=x")


def test_the_raw_barcelona_layout(tmp_path: Path) -> None:
    put(tmp_path, "ig/MMY_1.jpg", "ig/IG_2.jpg", "neutrophil/BNE_3.jpg", "platelet/PLATELET_4.jpg")
    assert classes_of(tmp_path) == {
        "ig/IG_2.jpg": "immature_granulocyte",
        "ig/MMY_1.jpg": "immature_granulocyte",
        "neutrophil/BNE_3.jpg": "neutrophil",
        "platelet/PLATELET_4.jpg": "platelet",
    }
    assert classes_of(tmp_path, subclasses=True) == {
        "ig/IG_2.jpg": "immature_granulocyte",
        "ig/MMY_1.jpg": "metamyelocyte",
        "neutrophil/BNE_3.jpg": "band_neutrophil",
        "platelet/PLATELET_4.jpg": "platelet",
    }


def test_the_raabin_layout_has_splits_above_the_classes(tmp_path: Path) -> None:
    put(tmp_path, "Train/Neutrophil/1.jpg", "TestA/Basophil/2.jpg", "TestB/Neutrophil/3.jpg", "val/4.jpg")
    manifest = index_folder(tmp_path, "raabin").manifest
    assert manifest.table.select("path", "class", "split").rows() == [
        ("TestA/Basophil/2.jpg", "basophil", "test"),
        ("TestB/Neutrophil/3.jpg", "neutrophil", "test_b"),
        ("Train/Neutrophil/1.jpg", "neutrophil", "train"),
        ("val/4.jpg", "", "validation"),
    ]


@pytest.mark.parametrize("folder", ["Dataset 1", ""])
def test_the_original_tecom_layout(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder, "001.bmp", "001.png", "012.bmp", "012.png", "013.bmp")
    (tmp_path / "Class Labels of Dataset 1.csv").write_text("image ID,class label\n1,2\n12,5\n")
    names = {Path(name).name: class_name for name, class_name in classes_of(tmp_path).items()}
    assert names == {"001.bmp": "lymphocyte", "012.bmp": "basophil", "013.bmp": ""}


@pytest.mark.parametrize("text", ["image ID,class label\n1,9\n", "a,b\nx,1\n", "a,b\n1\n"])
def test_refuses_a_damaged_tecom_label_file(tmp_path: Path, text: str) -> None:
    put(tmp_path, "001.bmp")
    (tmp_path / "Class Labels of Dataset 1.csv").write_text(text)
    with pytest.raises(ManifestError, match="class label of 1 to 5"):
        index_folder(tmp_path, "x")


@pytest.mark.shared
def test_the_real_sites(shared_data: Path) -> None:
    tecom = index_folder(shared_data / "tecom", "tecom")
    names, counts = np.unique(tecom.manifest.column("class"), return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "basophil": 1,
        "eosinophil": 22,
        "lymphocyte": 53,
        "monocyte": 48,
        "neutrophil": 176,
    }
    assert tecom.unreadable == ()


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.png", "locked/1.png")
    listed = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ManifestError, match=r"that can be listed.*locked"):
        index_folder(tmp_path, "s")
