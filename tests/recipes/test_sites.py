import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from hemabridge.data.manifest import Manifest, make_manifest, read_manifest, write_manifest
from hemabridge.errors import ManifestError, SplitError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.provenance import SyntheticOrigin, write_synthetic
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import (
    Site,
    cells_for_translation,
    prepare_site,
    read_settled,
    read_site,
    whole_site,
)
from hemabridge.storage.stages import Stages
from hemabridge.workflows.index import index

HALVES = {"train": 0.5, "test": 0.5}
CLASSES = ("neutrophil", "lymphocyte")


def listed(classes: dict[str, int], root: Path, site: str = "here") -> Manifest:
    """A manifest of so many images of each class, which need not exist."""
    names = [name for name, count in classes.items() for _ in range(count)]
    paths = [f"{place}.png" for place in range(len(names))]
    return make_manifest({"path": paths, "site": [site] * len(names), "class": names}, root)


@pytest.fixture
def clinic(hospitals: Path) -> SiteRecipe:
    return SiteRecipe(site="clinic-like", manifest=hospitals / "clinic-like" / "manifest.csv")


def prepared(recipe: SiteRecipe, out: Path, *, seed: int = 0, manifest: Manifest | None = None) -> Site:
    return prepare_site(recipe, manifest or read_site(recipe), CLASSES, HALVES, seed=seed, stages=Stages(out))


# Reading.


def test_a_folder_and_its_manifest_are_the_same_site(hospitals: Path, clinic: SiteRecipe, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    indexed = read_site(SiteRecipe(site="clinic-like", folder=folder)).table.sort("path")
    read = read_site(clinic).table.sort("path")
    columns = ["path", "site", "class", "sha256", "width", "height"]
    assert indexed.select(columns).equals(read.select(columns))


def test_every_image_gets_its_hash(hospitals: Path, tmp_path: Path) -> None:
    manifest = read_manifest(hospitals / "truth" / "manifest.csv")
    without = Manifest(manifest.table.with_columns(pl.lit("").alias("sha256")), manifest.root)
    write_manifest(without, tmp_path / "m.csv")
    recipe = SiteRecipe(site="truth", manifest=tmp_path / "m.csv", root=hospitals / "truth")
    assert read_site(recipe).column("sha256") == manifest.column("sha256")


def test_a_manifest_of_two_sites_is_refused(hospitals: Path, tmp_path: Path) -> None:
    tables = [read_manifest(hospitals / name / "manifest.csv").table for name in ("truth", "clinic-like")]
    both = pl.concat(
        [
            t.with_columns((pl.lit(f"{n}/") + pl.col("path")).alias("path"))
            for t, n in zip(tables, ("truth", "clinic-like"), strict=True)
        ]
    )
    write_manifest(Manifest(both, hospitals), tmp_path / "both.csv")
    recipe = SiteRecipe(site="truth", manifest=tmp_path / "both.csv", root=hospitals)
    with pytest.raises(ManifestError, match=r"expected one site, got \['clinic-like', 'truth'\]"):
        read_site(recipe)


def test_files_of_a_folder_that_cannot_be_read_are_named_and_left_out(hospitals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    whole = len(read_site(SiteRecipe(site="x", folder=folder)))
    for name in ("cut", "torn"):
        (folder / "neutrophil" / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = []
    assert len(read_site(SiteRecipe(site="x", folder=folder), lambda label, *_: said.append(label))) == whole
    (line,) = [label for label in said if label.startswith("left out of ")]
    assert "copy: neutrophil/cut.png, neutrophil/torn.png: expected a whole " in line


def test_a_folder_most_of_whose_images_cannot_be_read_is_refused(hospitals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    images = sorted(folder.rglob("*.png"))
    for path in images[: len(images) // 2 + 1]:
        path.write_bytes(b"")
    with pytest.raises(
        ManifestError, match=rf"got {len(images) // 2 + 1} of {len(images)} that are not: .* and \d+ more: "
    ):
        read_site(SiteRecipe(site="x", folder=folder))


def test_gray_images_of_a_folder_are_named_and_gray_folders_refused(hospitals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    images = sorted(folder.rglob("*.png"))
    said: list[str] = []
    for path in images:
        image = Image.open(path).convert("L")
        if path == images[-1]:
            read_site(SiteRecipe(site="x", folder=folder), lambda label, *_: said.append(label))
        image.save(path)
    assert f"warning: {len(images) - 1} of {len(images)} images of {folder} are gray, and nothing can be " in said[-1]
    assert images[0].relative_to(folder).as_posix() in said[-1]
    with pytest.raises(ManifestError, match=rf"expected stained cells in color in .*, got {len(images)} gray pictures"):
        read_site(SiteRecipe(site="x", folder=folder))


def test_several_stated_scales_are_refused(hospitals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    manifest = read_manifest(folder / "manifest.csv")
    crops = pl.Series("crop_px", [32] * (len(manifest) - 1) + [64], dtype=pl.Int64)
    write_manifest(Manifest(manifest.table.with_columns(crops), manifest.root), folder / "manifest.csv")
    site = SiteRecipe(site="clinic-like", manifest=folder / "manifest.csv")
    with pytest.raises(ManifestError, match=r"expected one crop_px for all images of clinic-like, got \['32', '64'\]"):
        cells_for_translation(site, 32)


# Splitting and scale.


def test_a_site_is_split_once_with_every_class_in_every_part(clinic: SiteRecipe, tmp_path: Path) -> None:
    site = prepared(clinic, tmp_path)
    counts = Counter(zip(site.manifest.column("split"), site.manifest.column("class"), strict=True))
    assert counts == {(part, name): 6 for part in HALVES for name in CLASSES}
    written = tmp_path / "split" / "clinic-like" / "manifest.csv"
    before = written.stat().st_mtime_ns
    assert prepared(clinic, tmp_path).manifest.table.equals(site.manifest.table)
    assert written.stat().st_mtime_ns == before
    assert not prepared(clinic, tmp_path, seed=1).manifest.table.equals(site.manifest.table)


def test_photographs_of_one_cell_stay_in_one_part(hospitals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    for path in sorted((folder / "neutrophil").iterdir())[:6]:
        Image.open(path).save(path.with_name(f"again-{path.stem}.jpg"), quality=95)
    recipe = SiteRecipe(site="x", folder=folder, crop_px=32)
    site = prepared(recipe, tmp_path)
    part = dict(zip(site.manifest.column("path"), site.manifest.column("split"), strict=True))
    pairs = [(name.replace("again-", "").replace(".jpg", ".png"), name) for name in part if "again-" in name]
    assert len(pairs) == 6
    assert [pair for pair in pairs if part[pair[0]] != part[pair[1]]] == []


def split_as(manifest: Manifest, parts: list[str]) -> Manifest:
    column = [parts[place % len(parts)] for place in range(len(manifest))]
    return Manifest(manifest.table.with_columns(pl.Series("split", column)), manifest.root)


def test_a_split_of_the_manifest_is_kept(clinic: SiteRecipe, tmp_path: Path) -> None:
    own = split_as(read_site(clinic), ["train", "test", "validation", "train"])
    assert prepared(clinic, tmp_path, manifest=own).manifest.column("split") == own.column("split")


@pytest.mark.parametrize("parts", [["train", "test", ""], ["train", "validation"], ["fold-1", "fold-2"], ["test"]])
def test_half_a_split_is_refused_not_replaced(clinic: SiteRecipe, tmp_path: Path, parts: list[str]) -> None:
    own = split_as(read_site(clinic), parts)
    with pytest.raises(ManifestError, match="expected the column split to say train or test"):
        prepared(clinic, tmp_path, manifest=own)


def test_a_split_that_leaks_is_refused(clinic: SiteRecipe, tmp_path: Path) -> None:
    own = split_as(read_site(clinic), ["train", "test"])
    patients = pl.Series("patient", [f"p{place // 2}" for place in range(len(own))])
    leaking = Manifest(own.table.with_columns(patients), own.root)
    with pytest.raises(SplitError, match=r"patient 'p0' in test and train"):
        prepared(clinic, tmp_path, manifest=leaking)


def test_the_recipes_crop_wins_over_the_manifests_and_that_over_an_estimate(hospitals: Path, tmp_path: Path) -> None:
    path = hospitals / "clinic-like" / "manifest.csv"
    stated = SiteRecipe(site="clinic-like", manifest=path)
    assert prepared(stated, tmp_path / "a").crop_px == 32
    assert prepared(stated.model_copy(update={"crop_px": 20}), tmp_path / "b").crop_px == 20
    manifest = read_site(stated)
    silent = Manifest(manifest.table.with_columns(pl.lit(None, dtype=pl.Int64).alias("crop_px")), manifest.root)
    assert 8 < prepared(stated, tmp_path / "c", manifest=silent).crop_px < 64


def test_a_crop_in_micrometers_becomes_pixels_by_the_stated_scale(hospitals: Path, tmp_path: Path) -> None:
    path = hospitals / "clinic-like" / "manifest.csv"
    stated = SiteRecipe(site="clinic-like", manifest=path, crop_um=15.0, um_per_px=0.5)
    assert prepared(stated, tmp_path / "a").crop_px == 30
    unknown = SiteRecipe(site="clinic-like", manifest=path, crop_um=15.0)  # cells of 32 px show no whole red cell
    with pytest.raises(ManifestError, match="state um_per_px beside crop_um"):
        prepared(unknown, tmp_path / "b")


def test_a_crop_in_micrometers_becomes_pixels_by_red_cells_or_by_what_the_files_state(
    drawn_field: Path, tmp_path: Path
) -> None:
    image = Image.open(drawn_field)
    names = [f"{name}/{place}.tif" for name in CLASSES for place in range(2)]
    for place, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.transpose(Image.Transpose(place)).save(tmp_path / name)
    recipe = SiteRecipe(site="here", folder=tmp_path, crop_um=18.0)
    of_red_cells = whole_site(recipe, read_site(recipe), CLASSES, Stages(tmp_path / "_a"))
    assert of_red_cells.crop_px == pytest.approx(180, rel=0.04)
    for name in names:
        Image.open(tmp_path / name).copy().save(tmp_path / name, dpi=(25_400 / 0.12, 25_400 / 0.12))
    assert whole_site(recipe, read_site(recipe), CLASSES, Stages(tmp_path / "_b")).crop_px == 150


def test_cells_are_those_of_the_asked_parts_at_the_asked_size(clinic: SiteRecipe, tmp_path: Path) -> None:
    site = prepared(clinic, tmp_path)
    calls: list[tuple[str, int, int]] = []
    cells = site.cells(("test",), CLASSES, 24, lambda *call: calls.append(call))
    tests = [
        p for p, part in zip(site.manifest.column("path"), site.manifest.column("split"), strict=True) if part == "test"
    ]
    assert cells.ids == tuple(tests)
    assert cells.images.shape == (12, 24, 24, 3)
    assert [CLASSES[label] for label in cells.labels] == [Path(name).parent.name for name in cells.ids]
    assert calls[-1] == ("reading clinic-like (test) at 24 px", 12, 12)


def test_what_identifies_a_site_does_not_depend_on_names_but_its_list_does(
    clinic: SiteRecipe, hospitals: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed"
    for number, path in enumerate(sorted((hospitals / "clinic-like").rglob("*/*.png"), reverse=True)):
        (renamed / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed / path.parent.name / f"{number:02d}.png")
    index(renamed, "clinic-like", crop_px=32)
    one = prepared(clinic, tmp_path / "one")
    other = prepared(SiteRecipe(site="clinic-like", manifest=renamed / "manifest.csv"), tmp_path / "other")
    assert one.described() == other.described()
    assert sorted(digest for _, digest in one.listed()) == sorted(digest for _, digest in other.listed())
    assert [digest for _, digest in one.listed()] != [digest for _, digest in other.listed()]


# The cells of a translator that is trained alone.


def test_a_translator_sees_unlabeled_cells_but_none_that_are_kept_for_tests(hospitals: Path, tmp_path: Path) -> None:
    manifest = split_as(read_manifest(hospitals / "clinic-like" / "manifest.csv"), ["train", "test", ""])
    classes = pl.Series("class", ["", *manifest.column("class")[1:]])
    write_manifest(Manifest(manifest.table.with_columns(classes), manifest.root), tmp_path / "m.csv")
    recipe = SiteRecipe(site="clinic-like", manifest=tmp_path / "m.csv", root=manifest.root)
    cells = cells_for_translation(recipe, 36)
    kept = [p for p, part in zip(manifest.column("path"), manifest.column("split"), strict=True) if part != "test"]
    assert cells.ids == tuple(kept)
    assert (cells.labels[0], cells.images.shape) == (-1, (16, 36, 36, 3))


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_what_was_settled_is_read_again(hospitals: Path, tmp_path: Path, kind: str) -> None:
    place = hospitals / "truth" / ("manifest.csv" if kind == "manifest" else "")
    recipe = SiteRecipe.model_validate({"site": "The Truth", kind: place, "crop_px": 32})
    settled = prepared(recipe, tmp_path, manifest=read_manifest(hospitals / "truth" / "manifest.csv"))
    again = read_settled(recipe, tmp_path)
    assert again.described() == settled.described()
    assert again.manifest.paths() == settled.manifest.paths()
    with pytest.raises(ManifestError, match="got no such file"):
        read_settled(recipe, tmp_path / "elsewhere")


def test_synthetic_cells_come_into_the_training_part_and_are_refused_in_another(
    hospitals: Path, clinic: SiteRecipe, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "copy"))
    first = read_site(clinic).column("path")[0]
    write_synthetic(folder / first, read_image(folder / first), SyntheticOrigin())
    recipe = SiteRecipe(site="clinic-like", folder=folder)
    manifest = read_site(recipe)
    settled = prepared(recipe, tmp_path / "out", manifest=manifest).manifest
    drawn = settled.select(pl.col("origin") != "")
    assert (drawn.column("path"), drawn.column("split")) == ([first], ["train"])
    wrong = split_as(manifest, ["test" if path == first else "train" for path in manifest.column("path")])
    with pytest.raises(SplitError, match="got 1 synthetic in test"):
        prepared(recipe, tmp_path / "other", manifest=wrong)


def test_a_further_target_gives_all_cells_but_those_it_keeps_for_tests(
    hospitals: Path, clinic: SiteRecipe, tmp_path: Path
) -> None:
    manifest = read_site(clinic)
    whole = whole_site(clinic, manifest, CLASSES, Stages(tmp_path / "whole"))
    assert sorted(whole.manifest.column("path")) == sorted(manifest.column("path"))
    assert set(whole.manifest.column("split")) == {"train"}
    assert read_settled(clinic, tmp_path / "whole").described() == whole.described()
    half = split_as(manifest, ["train", "test"] * (len(manifest) // 2))
    assert len(whole_site(clinic, half, CLASSES, Stages(tmp_path / "half")).manifest) == len(manifest) // 2
    with pytest.raises(ManifestError, match="expected cells of at least two of the classes monocyte, neutrophil at"):
        whole_site(clinic, manifest, ("monocyte", "neutrophil"), Stages(tmp_path / "one"))
