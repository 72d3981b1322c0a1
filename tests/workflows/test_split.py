from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hemabridge.data.manifest import Manifest, read_manifest, write_manifest
from hemabridge.errors import SplitError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.provenance import SyntheticOrigin, read_origin, write_synthetic
from hemabridge.workflows.index import index
from hemabridge.workflows.split import split_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twenty images of noise in two classes, the last of each class saved twice."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for number in range(10):
            noise = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((6, 6, 1))).astype(np.uint8)
            write_image(tmp_path / f"site/{name}/{number}.png", noise)
        Image.fromarray(noise).save(tmp_path / f"site/{name}/again.jpg", quality=80)
    index(tmp_path / "site", "x")
    return tmp_path / "site" / "manifest.csv"


def test_fills_the_column_in_place(manifest: Path) -> None:
    done = split_manifest(manifest)
    assert read_manifest(manifest).table.equals(done.table)
    assert set(Counter(zip(done.column("class"), done.column("split"), strict=True))) == {
        (name, part) for name in ("a", "b") for part in ("train", "validation", "test")
    }


@pytest.mark.parametrize("seed", range(4))
def test_keeps_photographs_of_one_cell_in_one_part(manifest: Path, seed: int) -> None:
    done = split_manifest(manifest, seed=seed, fractions={"train": 0.5, "test": 0.5}, replace=True)
    part = dict(zip(done.column("path"), done.column("split"), strict=True))
    assert [name for name in ("a", "b") if part[f"{name}/9.png"] != part[f"{name}/again.jpg"]] == []


def test_does_not_replace_a_split_or_a_file_unasked(manifest: Path, tmp_path: Path) -> None:
    first = split_manifest(manifest, seed=1)
    with pytest.raises(SplitError, match="has one; replace it"):
        split_manifest(manifest, seed=2)
    assert read_manifest(manifest).table.equals(first.table)
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(SplitError, match="no file at"):
        split_manifest(manifest, seed=2, out=out, fractions={"train": 0.5, "test": 0.5})
    assert out.read_text() == "mine"
    assert split_manifest(manifest, seed=2, replace=True).column("split") != first.column("split")


def test_reads_and_writes_elsewhere_with_root(manifest: Path, tmp_path: Path) -> None:
    away = tmp_path / "lists" / "m.csv"
    away.parent.mkdir()
    manifest.rename(away)
    done = split_manifest(away, root=manifest.parent, out=tmp_path / "lists" / "split.csv")
    assert read_manifest(tmp_path / "lists" / "split.csv", manifest.parent).table.equals(done.table)
    assert not any(read_manifest(away, manifest.parent).column("split"))


def test_a_misspelled_part_is_refused_before_any_image_is_read(manifest: Path) -> None:
    calls: list[tuple[int, int]] = []
    with pytest.raises(SplitError, match="got 'tset'; did you mean 'test'"):
        split_manifest(
            manifest, fractions={"train": 0.5, "tset": 0.5}, progress=lambda done, total: calls.append((done, total))
        )
    assert calls == []
    assert not any(read_manifest(manifest).column("split"))


@pytest.mark.parametrize("seed", range(3))
def test_synthetic_images_are_trained_on_although_only_their_files_tell(manifest: Path, seed: int) -> None:
    noise = np.random.default_rng(9).integers(0, 255, (48, 48, 3)).astype(np.uint8)
    write_synthetic(manifest.parent / "a/drawn.png", noise, SyntheticOrigin())
    indexed = index(manifest.parent, "x", replace=True).manifest
    write_manifest(Manifest(indexed.table.with_columns(pl.lit("").alias("origin")), indexed.root), manifest)
    split_manifest(manifest, seed=seed, fractions={"train": 0.2, "test": 0.8})
    drawn = read_manifest(manifest).select(pl.col("path") == "a/drawn.png")
    assert drawn.column("split") == ["train"]
    assert drawn.column("origin") == [SyntheticOrigin().as_text()]
    assert read_origin(manifest.parent / "a/drawn.png") == SyntheticOrigin()
