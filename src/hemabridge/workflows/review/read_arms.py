"""The arms of a review from a finished study, or from folders of images."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import polars as pl

from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest, read_manifest, with_hashes
from hemabridge.errors import ManifestError, RecipeError, RunError
from hemabridge.models.selection_file import FILE, Selection
from hemabridge.models.study_folder import MANIFEST, StudyFolder
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import SiteRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.review import ArmFolder, ReviewPlan
from hemabridge.review.arms import ORIGINAL, TARGET, Arm, ArmCell, Picture
from hemabridge.storage.files import picture_names

Crop: TypeAlias = int | Literal["whole"] | None


def arms_of(plan: ReviewPlan, progress: Progress = silent) -> dict[str, Arm]:
    """Return all arms of a review by name: those of its study, then its folders.

    Raises:
        RecipeError: two arms have the same name, or `of` names an arm that does not exist.
        ManifestError: a folder cannot be used, or a re-stained image has no photograph.
        RunError: the study is not finished.
    """
    arms = {} if plan.study is None else _arms_of_study(plan.study, plan.study_arms)
    for spec in sorted(plan.arms, key=lambda arm: arm.of is not None):  # photographs first
        if spec.name in arms:
            raise RecipeError(f"expected arms with different names, got {spec.name!r} twice; rename one")
        if spec.of is not None and (spec.of not in arms or arms[spec.of].of is not None):
            raise RecipeError(f"expected {spec.name!r} to be of an arm of photographs, got of = {spec.of!r}")
        arms[spec.name] = _arm_of_folder(spec, arms, progress)
    return arms


def _arms_of_study(folder: Path, wanted: tuple[str, ...]) -> dict[str, Arm]:
    study = _read_study(folder)
    made = set(StudyFolder(folder).restainings)
    names = wanted or (ORIGINAL, TARGET, _usual(folder, made))
    unknown = [name for name in names if name not in {ORIGINAL, TARGET, *made}]
    if unknown:
        raise RecipeError(
            f"expected study_arms among {ORIGINAL}, {TARGET}, {', '.join(sorted(made))}, got {', '.join(unknown)}"
        )
    source, target = (_tests(site, folder) for site in (study.source, study.target))
    arms = {
        ORIGINAL: Arm(ORIGINAL, _photographs(source, _whole_or_none(study.source))),
        TARGET: Arm(TARGET, _photographs(target, _whole_or_none(study.target))),
    }
    arms |= {name: Arm(name, _restained(source, folder, name), ORIGINAL) for name in names if name in made}
    return {name: arm for name, arm in arms.items() if name in names or (name == ORIGINAL and made & set(names))}


def _read_study(folder: Path) -> StudyRecipe:
    path = StudyFolder(folder).recipe
    if not path.is_file():
        raise RunError(
            f"expected the folder of a finished study, got no recipe.toml in {folder}; finish it: "
            f"`hemabridge study RECIPE --out {folder}`"
        )
    try:
        return expect_kind(read_recipe(path), StudyRecipe)
    except RecipeError as error:
        raise RunError(f"expected the recipe of a study at {path}, got another: {error}") from error


def _usual(folder: Path, made: set[str]) -> str:
    """Return the chosen snapshot; without a choice the last one; without snapshots a normalizer."""
    chosen = Selection.read(folder / FILE).chosen if (folder / FILE).is_file() else None
    snapshots = sorted(name for name in made if name.startswith(("epoch-", "images-")))
    found = [name for name in (chosen, *snapshots[::-1], *sorted(made)) if name in made]
    if not found:
        raise RunError(
            f"expected re-stained cells in {folder}, got none; run `hemabridge study RECIPE --out {folder}` to its end"
        )
    return str(found[0])


def _tests(site: SiteRecipe, folder: Path) -> Manifest:
    """Return the test cells of a site in the split of the study."""
    settled = StudyFolder(folder).manifest(site.site)
    root = site.folder or site.root or (site.manifest.parent if site.manifest is not None else None)
    tests = read_manifest(settled, root).select(pl.col("split") == "test")
    if len(tests) == 0:
        raise RunError(f"expected test cells in {settled}, got none; the study is not finished")
    return with_hashes(tests)


def _whole_or_none(site: SiteRecipe) -> Literal["whole"] | None:
    return "whole" if site.crop_px == "whole" else None


def _photographs(manifest: Manifest, crop: Crop) -> dict[str, ArmCell]:
    """Return the cells of a manifest by the hash of their file; of equal files, the first one."""
    found: dict[str, ArmCell] = {}
    for path, row in zip(manifest.paths(), manifest.table.iter_rows(named=True), strict=True):
        picture = Picture(path, crop or row["crop_px"])
        found.setdefault(row["sha256"], ArmCell(row["sha256"], row["class"], row["site"], picture, row["path"]))
    return found


def _restained(source: Manifest, folder: Path, name: str) -> dict[str, ArmCell]:
    """Return the source's cells of one re-staining of a study; each file shows the cell without surroundings."""
    pictures = StudyFolder(folder).pictures(name)
    found: dict[str, ArmCell] = {}
    names = picture_names(source.column("path"))
    for file, row in zip(names, source.table.iter_rows(named=True), strict=True):
        if not (pictures / file).is_file():
            raise RunError(
                f"expected the re-stained cell {pictures / file}, got no file; run `hemabridge study RECIPE --out "
                f"{folder}` again"
            )
        found.setdefault(row["sha256"], ArmCell(row["sha256"], row["class"], row["site"], Picture(pictures / file)))
    return found


def _arm_of_folder(spec: ArmFolder, arms: Mapping[str, Arm], progress: Progress) -> Arm:
    manifest = _manifest_of(spec, progress)
    if spec.of is None:
        return Arm(spec.name, _photographs(with_hashes(manifest), spec.crop_px))
    by_name = {_stem(cell.name): cell for cell in arms[spec.of].cells.values()}
    found: dict[str, ArmCell] = {}
    for path, row in zip(manifest.paths(), manifest.table.iter_rows(named=True), strict=True):
        cell = by_name.get(_stem(row["path"]))
        if cell is None:
            raise ManifestError(
                f"expected a photograph in the arm {spec.of!r} for each image of {spec.name!r}, got none for "
                f"{row['path']}; keep names and tree, as `hemabridge standardize` does"
            )
        picture = Picture(path, spec.crop_px or row["crop_px"], like=cell.picture)
        found.setdefault(cell.cell, ArmCell(cell.cell, cell.cell_type, cell.site, picture))
    return Arm(spec.name, found, spec.of)


def _manifest_of(spec: ArmFolder, progress: Progress) -> Manifest:
    path = spec.manifest or spec.folder / MANIFEST
    if spec.manifest is not None or path.is_file():
        return read_manifest(path, spec.folder)
    indexed = index_folder(spec.folder, spec.name, progress=partial(progress, f"indexing {spec.name}"))
    if indexed.unreadable:
        first = indexed.unreadable[0]
        raise ManifestError(
            f"expected readable images in {spec.folder}, got {len(indexed.unreadable)} unreadable files, such as "
            f"{first.path} ({first.reason}); remove them, or name a manifest"
        )
    return indexed.manifest


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()
