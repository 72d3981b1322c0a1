import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from hemabridge.data.manifest import make_manifest, write_manifest
from hemabridge.errors import HemabridgeError, InputError, ManifestError, ModelError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.recipes.recipe import SiteRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.two_sites import check_sites, left_out_classes, shared_classes, with_manifests


def listed(counts: dict[str, int]) -> list[str]:
    return [name for name, count in counts.items() for _ in range(count)]


# Classes.


def test_all_classes_with_enough_cells_at_both_sites_are_told_apart() -> None:
    source = listed({"a": 8, "b": 7, "c": 30, "d": 9, "": 50})
    target = listed({"a": 9, "b": 40, "c": 8, "e": 9, "": 50})
    assert shared_classes(source, target, ()) == ("a", "c")


def test_wished_classes_are_taken_in_their_order() -> None:
    site = listed({"a": 2, "b": 2, "c": 9})
    assert shared_classes(site, site, ("c", "a")) == ("c", "a")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ((), "expected at least two classes with 8 or more cells at both sites, got ['a']"),
        (("a",), "expected at least two classes"),
        (("a", "x"), "got none of 'x' at the source, 'x' at the target"),
        (("a", "c"), "got none of 'c' at the target"),
    ],
)
def test_too_few_or_missing_classes_are_told(wanted: tuple[str, ...], told: str) -> None:
    source, target = listed({"a": 20, "c": 20}), listed({"a": 20, "b": 20})
    with pytest.raises(ManifestError) as error:
        shared_classes(source, target, wanted)
    assert told in str(error.value)


# The recipe for two other sites.


def test_manifests_take_the_place_of_the_recipes_sites(
    small_study: Path, hospitals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    monkeypatch.chdir(hospitals)
    changed = with_manifests(recipe, source=Path("truth/manifest.csv"), source_root=Path("truth"))
    assert changed.source == SiteRecipe(
        site="truth", manifest=hospitals.resolve() / "truth" / "manifest.csv", root=hospitals.resolve() / "truth"
    )
    assert changed.truth is None
    assert changed.target == recipe.target
    assert changed.model_copy(update={"source": recipe.source, "truth": recipe.truth}) == recipe


@pytest.mark.parametrize(("before", "after"), [("whole", "whole"), (90, None), (None, None)])
def test_squeezed_images_stay_squeezed_and_a_crop_in_pixels_goes_with_its_site(
    small_study: Path, hospitals: Path, before: str | int | None, after: str | None
) -> None:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    sites = {role: getattr(recipe, role).model_copy(update={"crop_px": before}) for role in ("source", "target")}
    changed = with_manifests(
        recipe.model_copy(update=sites), source=hospitals / "yellow-field", target=hospitals / "clinic-like"
    )
    assert (changed.source.crop_px, changed.target.crop_px) == (after, after)


def test_the_truth_belongs_to_the_source_and_stays_with_it(small_study: Path, hospitals: Path) -> None:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    changed = with_manifests(recipe, target=hospitals / "truth" / "manifest.csv")
    assert (changed.target.site, changed.truth) == ("truth", recipe.truth)
    assert with_manifests(recipe) == recipe


def test_wrong_manifests_are_refused(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    with pytest.raises(ManifestError, match="expected names of sites that differ"):
        with_manifests(recipe, source=hospitals / "clinic-like" / "manifest.csv")
    with pytest.raises(ManifestError, match="got no such file"):
        with_manifests(recipe, source=tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="got a root alone"):
        with_manifests(recipe, source_root=hospitals)
    long_name = "x" * 300
    write_image(tmp_path / "a.png", read_image(next((hospitals / "truth").rglob("*.png"))))
    write_manifest(make_manifest({"path": ["a.png"], "site": [long_name]}, tmp_path), tmp_path / "long.csv")
    with pytest.raises(HemabridgeError, match="at most 80 characters"):
        with_manifests(recipe, source=tmp_path / "long.csv")


def test_a_folder_stands_for_its_manifest(small_study: Path, hospitals: Path) -> None:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    changed = with_manifests(recipe, source=hospitals / "truth")
    assert changed == with_manifests(recipe, source=hospitals / "truth" / "manifest.csv")


# What is refused at once.


def flat_folder(hospitals: Path, out: Path, site: str) -> Path:
    """The images of a hospital without its folders of classes."""
    out.mkdir(parents=True)
    for number, path in enumerate(sorted((hospitals / site).rglob("*.png"))):
        shutil.copy(path, out / f"{number}.png")
    return out


def with_folders(small_study: Path, **folders: Path) -> StudyRecipe:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    changes = {role: SiteRecipe(site=role, folder=folder) for role, folder in folders.items()}
    return recipe.model_copy(update={"truth": None, **changes})


def test_two_labeled_sites_pass(small_study: Path, hospitals: Path) -> None:
    check_sites(expect_kind(read_recipe(small_study), StudyRecipe))
    check_sites(with_folders(small_study, source=hospitals / "yellow-field", target=hospitals / "clinic-like"))


def test_a_source_without_labels_is_told_the_command_that_works(
    small_study: Path, hospitals: Path, tmp_path: Path
) -> None:
    recipe = with_folders(small_study, source=flat_folder(hospitals, tmp_path / "new", "yellow-field"))
    with pytest.raises(ManifestError) as error:
        check_sites(recipe)
    told = str(error.value)
    assert told.startswith(
        "expected labeled cells at the source, by which a study scores, got 24 images without a class"
    )
    assert re.findall("`(hemabridge .*?)`", told) == [
        "hemabridge adapt TARGET SOURCE --out RUN --weights download",
        "hemabridge evaluate STUDY IMAGES OUT --fit",
        "hemabridge restyle TARGET/manifest.csv restyled --hospital yellow-field",
        "hemabridge study RECIPE --source restyled/yellow-field --target TARGET",
    ]


def test_a_target_without_labels_is_told_too(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    flat = flat_folder(hospitals, tmp_path / "flat", "clinic-like")
    with pytest.raises(ManifestError, match="are --source and --target swapped"):
        check_sites(with_folders(small_study, target=flat))
    with pytest.raises(ManifestError, match="one folder per class") as error:
        check_sites(with_folders(small_study, target=flat, source=flat))
    assert "swapped" not in str(error.value)


@pytest.mark.parametrize("names", [(), ("notes.txt", "_masks/1.png", ".hidden.png")])
def test_a_folder_without_images_is_refused(small_study: Path, tmp_path: Path, names: Sequence[str]) -> None:
    (tmp_path / "site" / "_masks").mkdir(parents=True)
    for name in names:
        (tmp_path / "site" / name).write_bytes(b"")
    others = "1 beginning with _: _masks/" + (
        "; 1 hidden: .hidden.png; 1 not images by name: notes.txt" if names else ""
    )
    with pytest.raises(ManifestError, match=re.escape(f"got other files ({others})")):
        check_sites(with_folders(small_study, source=tmp_path / "site"))


def test_a_folder_that_is_not_there_is_refused(small_study: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="got nothing"):
        check_sites(with_folders(small_study, source=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            'classifiers=[{name = "A", train = {weights = "gone.safetensors"}}]',
            r"gone\.safetensors does not exist\. Set weights = \"download\".*copy their model.*leave weights out",
        ),
        (
            'classifiers=[{name = "A", external = {file = "gone.onnx", classes = ["a", "b"]}}]',
            r"expected the file of the classifier A, got nothing: .*gone\.onnx",
        ),
    ],
)
def test_a_missing_file_of_a_classifier_is_told_before_any_site_is_looked_at(
    small_study: Path, change: str, told: str
) -> None:
    recipe = expect_kind(read_recipe(small_study, (change, "source.manifest=nowhere.csv")), StudyRecipe)
    with pytest.raises(ModelError, match=told):
        check_sites(recipe)


def test_classes_that_a_study_leaves_out_are_told_with_their_counts() -> None:
    source, target = ["a"] * 9 + ["b"] * 9 + ["c"] + [""] * 3, ["a"] * 9 + ["b"] * 9 + ["d"] * 20
    classes = shared_classes(source, target, ())
    line = left_out_classes(source, target, classes)
    assert (
        line == "left out, since a class needs 8 cells at both sites: c (source 1, target 0), d (source 0, target 20)"
    )
    assert left_out_classes(source[:18], target[:18], classes) == ""
