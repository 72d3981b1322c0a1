"""Gray pictures among color ones are told by the audit and in the row of what was re-stained."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hemabridge.data.audit import audit
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import crop_of, list_new_cells, read_new_cells
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.imaging import grayness
from hemabridge.imaging.files import write_image
from hemabridge.imaging.grayness import GRAY_REMARK, MOST_GRAY_LEVELS, color_range, is_gray
from hemabridge.models.restaining import remark_of
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.progress import silent

Picture = NDArray[np.uint8]


def gray_of(image: Picture) -> Picture:
    return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2)


def as_jpeg(image: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


def noisy(image: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


GRAY: dict[str, Callable[[Picture], Picture]] = {
    "equal channels": gray_of,
    "JPEG": lambda image: as_jpeg(gray_of(image)),
    "noise": lambda image: noisy(gray_of(image)),
    "a tenth of the color": lambda image: np.asarray(
        Image.blend(Image.fromarray(gray_of(image)), Image.fromarray(image), 0.1)
    ),
    "a cast": lambda image: np.clip(gray_of(image).astype(int) + np.array([12, 0, -20]), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("how", GRAY)
@pytest.mark.parametrize("hospital", ["clinic-like", "yellow-field"])
def test_tells_gray_from_stained(how: str, hospital: str) -> None:
    images, _ = simulate_cells(["neutrophil", "lymphocyte", "eosinophil"], 1, HOSPITALS[hospital], 1, 96)
    assert [is_gray(image) for image in images] == [False] * 3
    assert [is_gray(GRAY[how](image)) for image in images] == [True] * 3


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_a_picture_that_a_nucleus_fills_is_not_gray(hospital: str) -> None:
    images, _ = simulate_cells(["lymphocyte"], 2, HOSPITALS[hospital], 9, 96)
    assert [is_gray(np.ascontiguousarray(image[36:60, 36:60])) for image in images] == [False] * 2


def test_the_answer_from_a_part_is_that_of_the_whole() -> None:
    """Whatever the picture shows: colors of any strength, on any share of it, with any cast."""
    rng = np.random.default_rng(2)
    found = []
    for number in range(300):
        strength, share, cast = rng.uniform(0, 90), rng.uniform(0, 0.2), rng.uniform(-25, 25, 3)
        levels = np.repeat(rng.normal(180, 30, (9, 11, 1)), 3, axis=2) + cast
        levels[rng.random((9, 11)) < share] += strength * np.array([0.2, -0.5, 0.5])
        height, width = (int(rng.integers(1, 120)) if number % 4 else 9 * 11 for _ in range(2))
        picture = np.asarray(Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).resize((width, height)))
        of_samples = grayness._range_within(grayness._sampled(picture))
        whole = of_samples <= 2 * MOST_GRAY_LEVELS and color_range(picture) <= MOST_GRAY_LEVELS
        assert is_gray(picture) == whole
        found.append((whole, grayness._is_colorful(picture)))
    assert all(found.count(answer) > 20 for answer in ((True, False), (False, False), (False, True)))


def test_color_range_of_known_patches() -> None:
    patches = np.full((32, 32, 3), 200, np.uint8)
    assert color_range(patches) == 0
    patches[:16] = (150, 90, 160)
    assert color_range(patches) == pytest.approx(70)


def test_an_audit_names_the_gray_picture_among_color_ones(tmp_path: Path, make_site: Callable[..., Manifest]) -> None:
    manifest = make_site(tmp_path, [f"neutrophil/{number}.png" for number in range(4)])
    assert not any("gray" in finding.text for finding in audit(manifest).findings)
    path = tmp_path / "neutrophil/2.png"
    Image.open(path).convert("L").save(path)
    found = audit(index_folder(tmp_path, "here").manifest)
    assert [member.path for member in found.gray] == ["neutrophil/2.png"]
    said = [finding.text for finding in found.findings if "gray" in finding.text]
    assert len(said) == 1
    assert said[0].startswith("1 of 4 images of here is gray, or nearly so, among color ones (neutrophil/2.png)")


def test_an_audit_tells_a_site_that_is_wholly_gray(tmp_path: Path, make_site: Callable[..., Manifest]) -> None:
    for path in make_site(tmp_path, ["neutrophil/1.png", "neutrophil/2.png"]).paths():
        Image.open(path).convert("L").save(path)
    found = audit(index_folder(tmp_path, "here").manifest)
    assert any("All images of here are gray (2 images)" in finding.text for finding in found.findings)


def test_a_row_says_that_the_picture_is_gray() -> None:
    images, _ = simulate_cells(["neutrophil"], 4, HOSPITALS["clinic-like"], 1, 64)
    normalizer = fit_on_cells("reinhard-site", images, images)
    assert remark_of(normalizer, images[0]) == ""
    assert GRAY_REMARK in remark_of(normalizer, gray_of(images[0]))


def test_ranges_are_those_of_sorted_colors() -> None:
    rng = np.random.default_rng(0)
    for side in (1, 2, 33, 70, 131):
        image = rng.integers(0, 256, (side, side + 3, 3), dtype=np.uint8) // np.uint8(rng.integers(1, 40))
        small = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX), np.float64).reshape(-1, 3)
        difference = small.T - small.mean(axis=1)
        cast = np.median(difference, axis=1)
        ranges = [np.percentile(np.ptp(own, axis=0), 98) for own in (difference, difference - cast[:, None])]
        wanted = ranges[0] if np.ptp(cast) > 35 else min(ranges[0], 2 * ranges[1])
        assert color_range(image) == pytest.approx(wanted, abs=1e-9)


def test_masks_among_cells_are_not_taken_for_cells_and_do_not_change_the_scale(tmp_path: Path) -> None:
    cells, _ = simulate_cells(["neutrophil", "lymphocyte"], 6, HOSPITALS["clinic-like"], 1, 160)
    for number, cell in enumerate(cells):
        write_image(tmp_path / "cells" / f"{number}.png", cell)
        write_image(tmp_path / "both" / f"{number}.png", cell)
        mask = np.zeros_like(cell)
        mask[10:150, 10:150] = 255
        write_image(tmp_path / "both" / f"mask-of-{number}.png", mask)
    write_image(tmp_path / "both" / "glass.png", np.full_like(cells[0], 235))
    alone, both = (list_new_cells(tmp_path / name, None, "site") for name in ("cells", "both"))
    crop = crop_of(both.manifest)
    assert crop == crop_of(alone.manifest)
    found = read_new_cells(both, ("neutrophil", "lymphocyte"), crop, 32, silent)
    assert len(found.paths) == 13  # empty glass is told by what lies in its middle
    assert len(found.failed) == 12
    assert all(GRAY_REMARK in reason for reason in found.failed.values())
