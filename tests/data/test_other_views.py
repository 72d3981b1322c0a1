"""Mirrored, turned, resized, cropped and shifted views of one cell are found, and different cells are told apart."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from hemabridge.data.audit import audit, near_duplicates
from hemabridge.data.audit.duplicates import Sketch, same_fields, sketch
from hemabridge.data.audit.landmarks import MOST_BLOBS, SIDE_PX, landmarks
from hemabridge.data.audit.neighbors import alike
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.data.splits import split
from hemabridge.imaging.files import write_image

Picture = NDArray[np.uint8]
SIDE = 96


@pytest.fixture(scope="module")
def cells() -> list[Picture]:
    """Different simulated cells of one hospital, four classes."""
    classes = ["neutrophil", "lymphocyte", "monocyte", "eosinophil"]
    images, _ = simulate_cells(classes, 3, HOSPITALS["clinic-like"], 5, SIDE)
    return list(images)


@pytest.fixture(scope="module")
def sketches(cells: list[Picture]) -> list[Sketch]:
    return [sketch(cell) for cell in cells]


def resized(image: Picture, side: int) -> Picture:
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((side, side), Image.Resampling.BICUBIC))


def jpeg(image: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def symmetry(image: Picture, number: int) -> Picture:
    turned = np.rot90(image, number % 4)
    return turned[:, ::-1] if number >= 4 else turned


def cut(image: Picture, share: float, down: float = 0.5, right: float = 0.5) -> Picture:
    part = round(share * SIDE)
    top, left = (round(where * (SIDE - part)) for where in (down, right))
    return image[top : top + part, left : left + part]


VIEWS: dict[str, Callable[[Picture], Picture]] = {
    **{f"symmetry {number}": lambda image, number=number: symmetry(image, number) for number in range(1, 8)},
    "0.8": lambda image: resized(image, 77),
    "1.25 mirrored": lambda image: resized(image[:, ::-1], 120),
    "dark": lambda image: (image * 0.8).astype(np.uint8),
    "bright": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
    "gray": lambda image: np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2),
    "jpeg turned": lambda image: jpeg(np.rot90(image)),
    "crop 0.9": lambda image: cut(image, 0.9, 1, 0),
    "crop 0.8 mirrored": lambda image: cut(image, 0.8, 0, 0)[::-1],
    "crop 0.7": lambda image: cut(image, 0.7),
    "crop 0.7 at the edge, enlarged": lambda image: resized(cut(image, 0.7, 0, 0.5), SIDE),
    "crop 0.75 turned, enlarged, jpeg": lambda image: jpeg(resized(np.rot90(cut(image, 0.75)), 120)),
}


@pytest.mark.parametrize("view", VIEWS)
def test_finds_another_view_of_a_simulated_cell(cells: list[Picture], sketches: list[Sketch], view: str) -> None:
    chosen = (3, 10)
    found = same_fields([*sketches, *(sketch(np.ascontiguousarray(VIEWS[view](cells[row]))) for row in chosen)])
    assert [group.positions for group in found] == [(row, len(cells) + i) for i, row in enumerate(chosen)]


def test_finds_two_shifted_crops_of_one_field(cells: list[Picture], sketches: list[Sketch]) -> None:
    first, second = (sketch(np.ascontiguousarray(cut(cells[7], 0.8, where, where))) for where in (0, 1))
    others = [one for row, one in enumerate(sketches) if row != 7]
    assert [group.positions for group in same_fields([first, *others, second])] == [(0, len(cells))]


def test_finds_all_copies_of_an_augmented_set(cells: list[Picture], sketches: list[Sketch]) -> None:
    """As sets are published: seven further symmetries of each image."""
    copies = [sketch(np.ascontiguousarray(symmetry(cells[row], n))) for row in range(3) for n in range(1, 8)]
    found = {group.positions for group in same_fields([*sketches, *copies])}
    start = len(cells)
    assert found == {(row, *range(start + 7 * row, start + 7 * row + 7)) for row in range(3)}


def test_different_cells_of_one_hospital_are_not_the_same(sketches: list[Sketch]) -> None:
    assert same_fields(sketches) == []


def test_a_black_frame_or_a_label_that_all_images_share_makes_no_copies(cells: list[Picture]) -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    framed = [np.where((np.hypot(y, x) < 0.48 * SIDE)[..., None], cell, 0).astype(np.uint8) for cell in cells]
    for image in framed:
        image[-8:-5, 10:40] = 255
    assert same_fields([sketch(image) for image in framed]) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (16, 16)])
def test_an_image_of_any_shape_has_a_sketch(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    found = landmarks(image)
    assert max(found.gray.shape) == SIDE_PX
    assert len(found.blobs) == len(found.descriptors) <= MOST_BLOBS
    assert [group.positions for group in same_fields([sketch(image)])] == []


def test_descriptors_stay_when_the_image_is_turned_and_mirrored(cells: list[Picture]) -> None:
    image = cells[0]
    plain = landmarks(image)
    for number in range(1, 8):
        other = landmarks(np.ascontiguousarray(symmetry(image, number)))
        one = plain.descriptors.astype(np.float32)
        distance = np.linalg.norm(one[:, None] - other.descriptors[None].astype(np.float32), axis=2)
        assert np.median(distance.min(axis=1)) < 0.1 * np.median(distance)


def test_proposed_pairs_do_not_grow_with_all_pairs() -> None:
    rng = np.random.default_rng(3)
    found = [landmarks(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)) for _ in range(40)]
    pairs = list(alike(found))
    assert all(first < second for first, second, _ in pairs)
    assert len({pair[:2] for pair in pairs}) == len(pairs) <= 3 * 40
    assert list(alike([])) == []


@pytest.fixture
def site(tmp_path: Path, cells: list[Picture]) -> Manifest:
    """Six cells of each of two classes; three of them have another view under another name."""
    for row in range(12):
        write_image(tmp_path / f"{'neutrophil' if row < 6 else 'lymphocyte'}/{row:02d}.png", cells[row])
    write_image(tmp_path / "neutrophil/z1.png", np.ascontiguousarray(cells[1][:, ::-1]))
    write_image(tmp_path / "neutrophil/z2.jpg", np.ascontiguousarray(np.rot90(cut(cells[2], 0.8))))
    write_image(tmp_path / "lymphocyte/z3.png", np.ascontiguousarray(cut(cells[9], 0.9, 0, 0)))
    return index_folder(tmp_path, "here").manifest


PAIRS = {
    ("neutrophil/01.png", "neutrophil/z1.png"),
    ("neutrophil/02.png", "neutrophil/z2.jpg"),
    ("lymphocyte/09.png", "lymphocyte/z3.png"),
}


@pytest.mark.parametrize("seed", range(3))
def test_a_split_keeps_other_views_together(site: Manifest, seed: int) -> None:
    together = near_duplicates(site)
    assert set(together) == PAIRS
    done = split(site, {"train": 0.5, "test": 0.5}, seed=seed, together=together)
    part = dict(zip(done.column("path"), done.column("split"), strict=True))
    assert all(part[first] == part[second] for first, second in PAIRS)


def test_an_audit_tells_of_other_views_in_both_parts_and_at_both_sites(
    site: Manifest, tmp_path_factory: pytest.TempPathFactory, cells: list[Picture]
) -> None:
    parts = ["test" if "z" in Path(path).stem else "train" for path in site.column("path")]
    given = Manifest(site.table.with_columns(pl.Series("split", parts)), site.root)
    other = tmp_path_factory.mktemp("there")
    write_image(other / "monocyte/1.png", np.ascontiguousarray(np.rot90(cells[5][::-1])))
    write_image(other / "monocyte/2.png", np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    found = audit(given, other=index_folder(other, "there").manifest)
    crossed = {tuple(member.path for member in group.members): group.crosses for group in found.duplicates}
    assert crossed == {
        **dict.fromkeys(PAIRS, ("split",)),
        ("neutrophil/05.png", "monocyte/1.png"): ("manifest", "site", "class"),
    }
    errors = [finding.text for finding in found.findings if finding.severity == "error"]
    assert any("are in several parts of the split" in text for text in errors)
    assert any("are in both manifests" in text for text in errors)


@pytest.mark.shared
@pytest.mark.slow
def test_turned_crops_of_real_cells_are_found_and_no_other(shared_data: Path) -> None:
    files = sorted((shared_data / "clinic").glob("*/*.jpg"))[::48]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    rng = np.random.default_rng(0)
    copies = []
    for number, image in enumerate(images[:40]):
        top, left = rng.integers(0, 70, 2)
        copies.append(sketch(np.ascontiguousarray(symmetry(image[top : top + 290, left : left + 290], number % 8))))
    found = same_fields([*(sketch(image) for image in images), *copies])
    wanted = {(row, len(images) + row) for row in range(40)}
    assert {group.positions for group in found} <= wanted
    assert len(found) >= 39
