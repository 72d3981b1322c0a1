"""Synthetic images from the folder to the loader: known again, trained on only, found when their manifest is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from hemabridge.data.audit import Audit, audit
from hemabridge.data.cells import load_cells
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest, make_manifest, read_manifest, write_manifest
from hemabridge.data.splits import check_split, find_leaks, split
from hemabridge.data.synthetic import is_synthetic, refuse_held_out, sources, with_origins
from hemabridge.errors import ManifestError, SplitError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.provenance import SyntheticOrigin, write_synthetic
from hemabridge.storage.files import sha256_of

MakeSite = Callable[..., Manifest]
DrawCell = Callable[..., NDArray[np.uint8]]
REAL = [f"{name}/{number}.png" for name in ("lymphocyte", "blast") for number in range(8)]
DRAWN = ["blast/drawn-0.png", "blast/drawn-1.tif"]


@pytest.fixture
def site(tmp_path: Path, make_site: MakeSite, cell: DrawCell) -> Path:
    """Eight real cells of two classes, and two synthetic blasts drawn from the first two lymphocytes."""
    folder = tmp_path / "site"
    make_site(folder, REAL)
    for number, name in enumerate(DRAWN):
        origin = SyntheticOrigin("a1" * 32, sha256_of(folder / REAL[number]), "to blast")
        write_synthetic(folder / name, cell(100 + number, nucleus_px=50), origin)
    return folder


def with_parts(manifest: Manifest, parts: dict[str, str], *, default: str = "train") -> Manifest:
    column = [parts.get(path, default) for path in manifest.column("path")]
    return Manifest(manifest.table.with_columns(pl.Series("split", column, dtype=pl.String)), manifest.root)


def without_origins(manifest: Manifest) -> Manifest:
    return Manifest(manifest.table.with_columns(pl.lit("").alias("origin")), manifest.root)


def texts(found: Audit, severity: str) -> str:
    return "\n".join(finding.text for finding in found.findings if finding.severity == severity)


def test_a_folder_that_lost_its_manifest_is_known_again(site: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another hospital" / "blast"
    elsewhere.mkdir(parents=True)
    shutil.copy(site / DRAWN[0], elsewhere / "new name.png")
    manifest = index_folder(elsewhere.parent, "x").manifest
    write_manifest(manifest, tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv", root=elsewhere.parent)
    assert again.column("origin") == [SyntheticOrigin("a1" * 32, sha256_of(site / REAL[0]), "to blast").as_text()]
    assert sources(again) == [sha256_of(site / REAL[0])]
    assert is_synthetic(again) == [True]


def test_with_origins_fills_only_what_is_empty(site: Path) -> None:
    indexed = index_folder(site, "x").manifest
    seen: list[tuple[int, int]] = []
    filled = with_origins(without_origins(indexed), lambda done, total: seen.append((done, total)))
    assert filled.table.equals(indexed.table)
    assert seen[-1] == (18, 18)
    stated = Manifest(indexed.table.with_columns(pl.lit("synthetic").alias("origin")), site)
    assert with_origins(stated).column("origin") == ["synthetic"] * 18


@pytest.mark.parametrize(
    "origin", ["real", "synthetic model=x", "=1", "synthetic model=unknown source=unknown recipe="]
)
def test_a_manifest_with_another_origin_is_refused(origin: str) -> None:
    with pytest.raises(ManifestError, match=r"nothing for a photograph, or synthetic .* in column origin"):
        make_manifest({"path": ["a.png"], "site": ["x"], "origin": [origin]}, Path())


@pytest.mark.parametrize("part", ["validation", "test", "test_b"])
@pytest.mark.parametrize("known", [True, False], ids=["by the column", "by the mark alone"])
def test_the_loader_refuses_synthetic_cells_in_parts_that_are_scored(site: Path, part: str, known: bool) -> None:
    manifest = with_parts(index_folder(site, "x").manifest, {DRAWN[1]: part, REAL[3]: part})
    wrong = manifest if known else without_origins(manifest)
    with pytest.raises(SplitError, match=rf"got 1 synthetic in {part}: 'blast/drawn-1.tif'"):
        load_cells(wrong, classes=["blast", "lymphocyte"], size_px=16, crop_px=64)
    right = with_parts(wrong, {REAL[3]: part})
    assert len(load_cells(right, classes=["blast", "lymphocyte"], size_px=16, crop_px=64)) == 18


def test_one_that_only_the_column_names_is_refused_too(site: Path) -> None:
    manifest = with_parts(index_folder(site, "x").manifest, {REAL[0]: "test"})
    stated = pl.when(pl.col("path") == REAL[0]).then(pl.lit("synthetic")).otherwise("origin").alias("origin")
    for files in (True, False):
        with pytest.raises(SplitError, match="got 1 synthetic in test"):
            refuse_held_out(Manifest(manifest.table.with_columns(stated), site), files=files)
    refuse_held_out(manifest)


@pytest.mark.parametrize("seed", range(6))
def test_a_split_trains_on_synthetic_cells_and_on_what_they_were_drawn_from(site: Path, seed: int) -> None:
    done = split(index_folder(site, "x").manifest, {"train": 0.5, "test": 0.5}, seed=seed)
    part = dict(zip(done.column("path"), done.column("split"), strict=True))
    assert [part[path] for path in (*DRAWN, *REAL[:2])] == ["train"] * 4
    # The shares are those of the real cells: four of each eight are left for the test.
    assert [sum(part[path] == "test" for path in paths) for paths in (REAL[:8], REAL[8:])] == [4, 4]
    check_split(done)


def test_a_split_without_a_training_part_or_of_drawn_cells_alone_is_refused(site: Path) -> None:
    manifest = index_folder(site, "x").manifest
    with pytest.raises(SplitError, match="expected a part train for the synthetic images"):
        split(manifest, {"validation": 0.5, "test": 0.5}, seed=0)
    drawn = manifest.select(pl.col("path").is_in([*DRAWN, *REAL[:8]]))
    with pytest.raises(SplitError, match="real cells of class 'blast' of site 'x' in every part"):
        split(drawn, {"train": 0.5, "test": 0.5}, seed=0)


def test_patients_group_a_site_although_synthetic_cells_have_none(site: Path) -> None:
    manifest = index_folder(site, "x").manifest
    patients = ["" if origin else f"p{row % 6}" for row, origin in enumerate(manifest.column("origin"))]
    grouped = Manifest(manifest.table.with_columns(pl.Series("patient", patients)), site)
    done = split(grouped, {"train": 0.6, "test": 0.4}, seed=1, group="patient")
    assert find_leaks(done) == []


def test_a_source_in_another_part_is_a_leak(site: Path) -> None:
    manifest = with_parts(index_folder(site, "x").manifest, {REAL[0]: "test", REAL[5]: "test"})
    leaks = find_leaks(manifest)
    assert [(leak.kind, leak.name, leak.parts) for leak in leaks] == [
        ("source", sha256_of(site / REAL[0]), ("test", "train"))
    ]
    assert set(leaks[0].paths) == {REAL[0], DRAWN[0]}
    with pytest.raises(SplitError, match="source"):
        check_split(manifest, group="none")
    assert "Synthetic images were drawn from 1 image of another part" in texts(audit(manifest), "error")


def test_the_audit_finds_what_the_manifest_does_not_say(site: Path) -> None:
    manifest = with_parts(without_origins(index_folder(site, "x").manifest), {DRAWN[0]: "test"})
    found = audit(manifest)
    assert [(one.member.path, one.in_manifest) for one in found.synthetic] == [(name, False) for name in DRAWN]
    assert "The manifest lists 2 synthetic images (blast/drawn-0.png, blast/drawn-1.tif) as real" in texts(
        found, "error"
    )
    assert "1 synthetic image (blast/drawn-0.png) in parts that are scored" in texts(found, "error")
    assert "2 of 18 images are synthetic" in texts(found, "note")
    assert '"in_manifest": false' in found.to_json()


def test_the_audit_of_what_the_manifest_says_and_of_real_cells_is_calm(site: Path) -> None:
    manifest = index_folder(site, "x").manifest
    found = audit(manifest)
    assert [one.in_manifest for one in found.synthetic] == [True, True]
    assert "synthetic" not in texts(found, "error") + texts(found, "warning")
    real = audit(manifest.select(pl.col("origin") == ""))
    assert real.synthetic == ()
    assert "synthetic" not in texts(real, "note")


def test_a_copy_that_lost_its_mark_is_found_beside_the_marked_one(site: Path, tmp_path: Path) -> None:
    bare = tmp_path / "elsewhere" / "blast" / "case 12.jpg"
    bare.parent.mkdir(parents=True)
    Image.fromarray(read_image(site / DRAWN[0])).save(bare, quality=85)
    found = audit(index_folder(bare.parents[1], "y").manifest, other=index_folder(site, "x").manifest)
    assert "Almost the same as a synthetic image, but without its mark: 1 image (blast/case 12.jpg)" in texts(
        found, "warning"
    )
