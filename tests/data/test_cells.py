import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.data.cells import UNKNOWN, CellSet, estimate_crop_px, joined, load_cells, sampled
from hemabridge.data.manifest import Manifest, make_manifest, with_hashes
from hemabridge.errors import ImageError, ManifestError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.scale import squeezed
from hemabridge.storage.files import sha256_of

MakeSite = Callable[..., Manifest]
NAMES = ["lymphocyte/1.png", "neutrophil/2.png", "unlabeled/3.png", "basophil/4.png"]
CLASSES = ["neutrophil", "lymphocyte"]


def test_loads_the_classes_asked_for_and_the_unlabeled(tmp_path: Path, make_site: MakeSite) -> None:
    seen: list[tuple[int, int]] = []
    cells = load_cells(
        make_site(tmp_path, NAMES),
        classes=CLASSES,
        size_px=32,
        crop_px=64,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert cells.ids == tuple(NAMES[:3])
    assert cells.labels.tolist() == [1, 0, UNKNOWN]
    assert cells.labels.dtype == np.int64
    assert cells.images.shape == (3, 32, 32, 3)
    assert cells.images.dtype == np.uint8
    assert cells.hashes == tuple(sha256_of(tmp_path / name) for name in NAMES[:3])
    assert cells.crop_px == 64
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_pixels_are_the_central_crop_resized_as_pillow_does(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = make_site(tmp_path, NAMES)
    whole = np.asarray(Image.open(tmp_path / NAMES[0]))
    same_size = load_cells(manifest, classes=CLASSES, size_px=64, crop_px=64)
    np.testing.assert_array_equal(same_size.images[0], whole[16:80, 16:80])
    half = load_cells(manifest, classes=CLASSES, size_px=32, crop_px=64)
    expected = Image.fromarray(whole[16:80, 16:80]).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(half.images[0], np.asarray(expected))


def test_subset_keeps_what_belongs_together(tmp_path: Path, make_site: MakeSite) -> None:
    cells = load_cells(make_site(tmp_path, NAMES), classes=CLASSES, size_px=16, crop_px=64)
    part = cells.subset([2, 0])
    assert part.ids == (NAMES[2], NAMES[0])
    assert part.labels.tolist() == [UNKNOWN, 1]
    assert part.hashes == (cells.hashes[2], cells.hashes[0])
    np.testing.assert_array_equal(part.images, cells.images[[2, 0]])
    assert len(cells.subset([])) == 0


def test_crop_comes_from_the_call_else_the_column_else_the_nuclei(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = make_site(tmp_path, NAMES)
    stated = manifest.with_crop_px(50)
    assert load_cells(stated, classes=CLASSES, size_px=8, crop_px=60).crop_px == 60
    assert load_cells(stated, classes=CLASSES, size_px=8).crop_px == 50
    assert load_cells(manifest, classes=CLASSES, size_px=8).crop_px == estimate_crop_px(manifest)


def test_estimated_crops_show_nuclei_of_two_sites_at_one_size(tmp_path: Path, make_site: MakeSite) -> None:
    small = estimate_crop_px(make_site(tmp_path / "small", NAMES, nucleus_px=30))
    large = estimate_crop_px(make_site(tmp_path / "large", NAMES, nucleus_px=45))
    assert large / small == pytest.approx(1.5, rel=0.05)


def test_refuses_two_scales_and_two_sites(tmp_path: Path, make_site: MakeSite) -> None:
    columns = {"path": NAMES[:2], "site": ["x", "y"], "class": ["lymphocyte", "neutrophil"]}
    make_site(tmp_path, NAMES)
    with pytest.raises(ManifestError, match=r"one crop_px .* got 50, nothing"):
        load_cells(make_manifest({**columns, "crop_px": [50, None]}, tmp_path), classes=CLASSES, size_px=8)
    with pytest.raises(ManifestError, match="one site"):
        load_cells(make_manifest(columns, tmp_path), classes=CLASSES, size_px=8)


def test_refuses_images_without_a_nucleus_to_estimate_from(tmp_path: Path) -> None:
    write_image(tmp_path / "blank.png", np.full((20, 20, 3), 240, dtype=np.uint8))
    with pytest.raises(ManifestError, match="got none in 1 images; state crop_px"):
        estimate_crop_px(make_manifest({"path": ["blank.png"], "site": ["x"]}, tmp_path))


def test_refuses_classes_that_no_cell_has_and_repeated_ones(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = make_site(tmp_path, NAMES[:2])
    with pytest.raises(ManifestError, match="did you mean 'neutrophil'"):
        load_cells(manifest, classes=["neutrophyl"], size_px=8, crop_px=64)
    with pytest.raises(ManifestError, match="each class once"):
        load_cells(manifest, classes=["a", "a"], size_px=8, crop_px=64)


def test_refuses_a_file_that_changed_and_one_that_broke(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = make_site(tmp_path, NAMES)
    hashed = with_hashes(manifest)
    (tmp_path / NAMES[0]).write_bytes(b"not an image")
    with pytest.raises(ManifestError, match="index the folder again"):
        load_cells(hashed, classes=CLASSES, size_px=8, crop_px=64)
    with pytest.raises(ImageError, match=r"1\.png"):
        load_cells(manifest, classes=CLASSES, size_px=8, crop_px=64)


def test_the_sample_does_not_depend_on_row_order() -> None:
    names = [f"{number}.png" for number in range(50)]
    first = sampled(make_manifest({"path": names, "site": ["x"] * 50}, Path()), 7).column("path")
    other = sampled(make_manifest({"path": names[::-1], "site": ["x"] * 50}, Path()), 7).column("path")
    assert len(first) == 7
    assert set(first) == set(other)
    gaps = np.diff([-1, *sorted(map(sorted(names).index, first)), 50])
    assert gaps.max() <= 8, "each part of the sorted paths is represented"


def test_whole_images_are_squeezed_to_squares(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    write_image(tmp_path / "a" / "1.png", image)
    manifest = make_manifest({"path": ["a/1.png"], "site": ["s"], "class": ["a"]}, tmp_path)
    cells = load_cells(manifest, classes=["a"], size_px=20, crop_px="whole")
    np.testing.assert_array_equal(cells.images[0], squeezed(image, 20))
    assert cells.crop_px == "whole"


def test_cells_are_drawn_in_a_mix_of_classes() -> None:
    labels = np.repeat([0, 1, 2], [60, 36, 4])
    names = tuple(map(str, range(100)))
    cells = CellSet(np.zeros((100, 2, 2, 3), np.uint8), labels, ("a", "b", "c", "none"), names, names, 2)
    drawn = cells.drawn(np.array([0.5, 0.3, 0.2, 0.0]), 50, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [25, 15, 10]
    assert len(set(drawn[labels[drawn] == 0].tolist())) == 25
    all_of_them = cells.drawn(np.array([1.0, 0.0, 0.0, 0.0]), 1000, np.random.default_rng(0))
    assert np.bincount(labels[all_of_them]).tolist() == [100, 1, 1]


def test_refuses_cells_that_do_not_fit_into_memory(
    tmp_path: Path, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_site(tmp_path, NAMES)
    monkeypatch.setattr(os, "sysconf", lambda _name: 20_000)  # pages of 20,000 bytes, and so many of them: 0.4 GB
    with pytest.raises(ManifestError, match=r"expected cells that fit into the 0.4 GB of memory, got 3 of 10000 x"):
        load_cells(manifest, classes=CLASSES, size_px=10_000, crop_px=64)


def test_cells_of_further_hospitals_are_shown_at_most_about_as_often_as_ones_own(
    tmp_path: Path, make_site: MakeSite
) -> None:
    cells = load_cells(make_site(tmp_path, NAMES), classes=CLASSES, size_px=16, crop_px=64)
    own, few, none = cells.subset([0, 1, 2, 0, 1, 2, 0]), cells.subset([0, 1]), ()
    shown = joined(own, [few, cells.subset([2])])
    assert len(shown) == len(own) + 2 * 3  # 3 further cells twice: a third time would be more than 7
    assert shown.labels.tolist() == own.labels.tolist() + 2 * [*few.labels.tolist(), UNKNOWN]
    np.testing.assert_array_equal(shown.images[len(own) : len(own) + 2], few.images)
    assert joined(own, none) is own
    assert len(joined(few, [own])) == len(few) + len(own)  # each is shown once at least
    other = load_cells(make_site(tmp_path, NAMES), classes=CLASSES, size_px=24, crop_px=64)
    with pytest.raises(ManifestError, match="expected cells of 16 px"):
        joined(own, [other])
