from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from hemabridge.data.audit import duplicates
from hemabridge.data.audit.alignment import View, likeness
from hemabridge.data.audit.duplicates import (
    MIN_CORRELATION,
    aligned_correlation,
    exact_copies,
    fine_detail,
    first_of_each,
    near_duplicates,
    near_pairs,
    same_fields,
    sketch,
)
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest
from hemabridge.imaging.files import write_image

DrawCell = Callable[..., NDArray[np.uint8]]


def changed(image: NDArray[np.uint8], how: str, folder: Path) -> NDArray[np.uint8]:
    """Return the image as it comes from another program or a second photograph."""
    picture = Image.fromarray(image)
    if how == "jpeg":
        picture.save(folder / "x.jpg", quality=60)
        picture = Image.open(folder / "x.jpg").convert("RGB")
    elif how == "smaller":
        picture = picture.resize((70, 70), Image.Resampling.LANCZOS)
    elif how == "brighter":
        picture = ImageEnhance.Brightness(picture).enhance(1.08)
    elif how == "redder":
        picture = Image.fromarray(np.clip(image * np.array([1.05, 0.95, 0.8]), 0, 255).astype(np.uint8))
    elif how == "blurred":
        picture = picture.filter(ImageFilter.GaussianBlur(1))
    return np.asarray(picture)


@pytest.mark.parametrize("how", ["jpeg", "smaller", "brighter", "redder", "blurred"])
def test_finds_an_image_that_was_saved_again(tmp_path: Path, cell: DrawCell, how: str) -> None:
    images = [cell(seed) for seed in range(6)]
    again = changed(images[3], how, tmp_path)
    found = same_fields([sketch(image) for image in [*images, again]])
    assert [group.positions for group in found] == [(3, 6)]
    assert MIN_CORRELATION <= found[0].correlation < 1


def test_finds_a_field_that_moved_a_little(cell: DrawCell) -> None:
    wide = cell(5, size_px=102)
    found = same_fields([sketch(wide[:96, :96]), sketch(cell(6)), sketch(wide[2:98, 1:97])])
    assert [group.positions for group in found] == [(0, 2)]


def test_different_cells_of_one_shape_and_blank_images_are_not_the_same(cell: DrawCell) -> None:
    blank = np.full((96, 96, 3), 230, dtype=np.uint8)
    images = [cell(seed) for seed in range(40)] + [blank, blank + 1]
    assert same_fields([sketch(image) for image in images]) == []
    assert same_fields([]) == []


def test_no_pair_is_laid_onto_each_other_twice_in_a_process(cell: DrawCell, monkeypatch: pytest.MonkeyPatch) -> None:
    laid = 0

    def counting(first: View, second: View, hits: Sequence[tuple[int, int]]) -> float:
        nonlocal laid
        laid += 1
        return likeness(first, second, hits)

    monkeypatch.setattr(duplicates, "likeness", counting)
    images = [cell(seed) for seed in range(300, 308)]
    images.append(np.ascontiguousarray(images[2][:, ::-1]))
    found = same_fields([sketch(image) for image in images])
    assert [group.positions for group in found] == [(2, 8)]
    before = laid
    assert before > 1
    assert same_fields([sketch(image) for image in images]) == found
    assert laid == before


def test_near_pairs_agree_with_counting_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((1100, 16)) < 0.5
    bits[1050:] = bits[:50] ^ (rng.random((50, 16)) < 0.05)
    expected = {(i, j) for i in range(1100) for j in np.flatnonzero((bits[i] ^ bits[i + 1 :]).sum(1) <= 1) + i + 1}
    assert set(near_pairs(bits, 1)) == expected
    assert len(expected) > 50


def test_aligned_correlation_is_numpys_at_the_known_shift() -> None:
    field = np.random.default_rng(1).integers(0, 255, (60, 60), dtype=np.uint8)
    first, second = fine_detail(field[5:53, 5:53]), fine_detail(field[8:56, 3:51])
    assert aligned_correlation(first, first) == pytest.approx(1)
    a, b = first[3:, :46], second[:45, 2:]
    assert aligned_correlation(first, second) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=0.01)
    assert aligned_correlation(first, second) > 0.95
    assert aligned_correlation(np.zeros_like(first), first) == 0


def test_hash_groups() -> None:
    assert exact_copies(["a", "b", "a", "c", "b", "a"]) == [(0, 2, 5), (1, 4)]
    assert first_of_each(["a", "b", "a", "c"]) == [0, 1, 3]


def test_near_duplicates_names_the_files(tmp_path: Path, cell: DrawCell, make_site: Callable[..., Manifest]) -> None:
    make_site(tmp_path, ["a/1.png", "a/2.png", "a/3.png"])
    (tmp_path / "a/1 copy.png").write_bytes((tmp_path / "a/1.png").read_bytes())
    write_image(tmp_path / "b/2.jpg", cell(1))
    seen: list[tuple[int, int]] = []
    manifest = index_folder(tmp_path, "x").manifest
    assert near_duplicates(manifest, progress=lambda done, total: seen.append((done, total))) == [
        ("a/2.png", "b/2.jpg")
    ]
    assert seen[-1] == (4, 4)


TECOM = [
    ("lymphocyte/019.bmp", "lymphocyte/075.bmp"),
    ("lymphocyte/051.bmp", "lymphocyte/073.bmp"),
    ("lymphocyte/070.bmp", "lymphocyte/072.bmp"),
    ("monocyte/021.bmp", "monocyte/082.bmp"),
    ("monocyte/026.bmp", "monocyte/089.bmp"),
    ("monocyte/030.bmp", "monocyte/086.bmp"),
    ("monocyte/054.bmp", "monocyte/091.bmp"),
    ("monocyte/056.bmp", "monocyte/092.bmp"),
    ("monocyte/071.bmp", "monocyte/084.bmp"),
    ("monocyte/090.bmp", "neutrophil/060.bmp"),
    ("neutrophil/157.bmp", "neutrophil/158.bmp"),
    ("neutrophil/166.bmp", "neutrophil/171.bmp"),
    ("neutrophil/167.bmp", "neutrophil/169.bmp"),
]
"""Groups of the images of Tecom, looked at one by one: each is one cell, photographed twice, or resized and cropped."""


@pytest.mark.shared
@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_the_real_images_of_tecom_have_fourteen_groups_and_no_false_alarm(shared_data: Path, every: int) -> None:
    """Among them and one of so many of the other images."""
    manifest = index_folder(shared_data / "tecom", "tecom").manifest
    grouped = {name for group in TECOM for name in group}
    names = manifest.column("path")
    some = manifest.select([row % every == 0 or name in grouped for row, name in enumerate(names)])
    assert sorted(near_duplicates(some)) == TECOM
    assert [[manifest.column("path")[row] for row in rows] for rows in exact_copies(manifest.column("sha256"))] == [
        ["lymphocyte/112.bmp", "lymphocyte/139.bmp"]
    ]


@pytest.mark.slow
def test_twenty_thousand_images_are_compared_in_seconds() -> None:
    bits = np.random.default_rng(0).random((20_000, 64)) < 0.5
    bits[19_999] = bits[0]
    assert (0, 19_999) in set(near_pairs(bits, 10))
