"""The cells of a recipe's site: manifest, split, scale, and loading."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from hemabridge.data.audit import near_duplicates
from hemabridge.data.cells import CellSet, estimate_crop_px, load_cells
from hemabridge.data.index import Index, index_folder
from hemabridge.data.listing import by_reason
from hemabridge.data.manifest import (
    SPLIT_COMMAND,
    Manifest,
    missing_images,
    read_listed,
    read_manifest,
    with_hashes,
    write_manifest,
)
from hemabridge.data.splits import check_split, split
from hemabridge.data.synthetic import with_origins
from hemabridge.errors import ManifestError, SplitError
from hemabridge.fields.site_scale import scale_of_images
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.scale import CropPx
from hemabridge.models.study_folder import MANIFEST, StudyFolder, split_stage
from hemabridge.progress import Progress, silent
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.storage.stages import Stages


@dataclass(frozen=True)
class Site:
    """The manifest of one hospital with a filled column `split`, and the scale of its images."""

    name: str
    manifest: Manifest
    crop_px: CropPx

    def cells(self, parts: tuple[str, ...], classes: tuple[str, ...], size_px: int, progress: Progress) -> CellSet:
        """Load the cells of some parts as squares of `size_px`."""
        wanted = self.manifest.select(pl.col("split").is_in(parts))
        label = f"reading {self.name} ({', '.join(parts)}) at {size_px} px"
        return load_cells(
            wanted, classes=classes, size_px=size_px, crop_px=self.crop_px, progress=partial(progress, label)
        )

    def described(self) -> dict[str, object]:
        """Return what identifies the site's cells: file hashes, classes, parts and scale; JSON."""
        rows = zip(*(self.manifest.column(name) for name in ("sha256", "class", "split")), strict=True)
        return {"site": self.name, "crop_px": self.crop_px, "cells": sorted(list(row) for row in rows)}

    def listed(self) -> list[list[str]]:
        """Return path and hash of each cell, in the order of all arrays that are made from them; JSON."""
        return [list(row) for row in zip(self.manifest.column("path"), self.manifest.column("sha256"), strict=True)]


def read_site(recipe: SiteRecipe, progress: Progress = silent) -> Manifest:
    """Read the manifest of a site, or index its folder; images get their hash and, if it is known, their origin.

    Files of a folder that cannot be read are named to `progress`, and left out.

    Raises:
        ManifestError: more than half of the images are unusable, all are gray, or the manifest holds several sites.
    """
    if recipe.folder is not None:
        indexed = index_folder(
            recipe.folder,
            recipe.site,
            subclasses=recipe.subclasses,
            progress=partial(progress, f"indexing {recipe.site}"),
        )
        _check_readable(indexed, recipe.folder)
        for line in by_reason((file.path, file.reason) for file in indexed.unreadable):
            progress(f"left out of {recipe.folder}: {line}", 0, 0)
        if warning := indexed.check_stained(str(recipe.folder)):
            progress(warning, 0, 0)
        found = indexed.manifest
    else:
        assert recipe.manifest is not None  # the recipe's own check
        found = with_origins(with_hashes(read_manifest(recipe.manifest, recipe.root)))
    sites = sorted(set(found.column("site")))
    if len(sites) != 1:
        raise ManifestError(f"expected one site, got {sites} in {recipe.manifest or recipe.folder}; select one")
    if warning := FieldCheck.of(found.paths()).warning(recipe.site):
        progress(warning, 0, 0)
    return found


def _check_readable(indexed: Index, folder: Path) -> None:
    """Check that not more than half of the images of a folder are missing, as those of a broken disk would be."""
    count, total = len(indexed.unreadable), len(indexed.unreadable) + len(indexed.manifest)
    if 2 * count > total:
        lines = "; ".join(by_reason((file.path, file.reason) for file in indexed.unreadable))
        raise ManifestError(f"expected readable images in {folder}, got {count} of {total} that are not: {lines}")


def prepare_site(
    recipe: SiteRecipe,
    manifest: Manifest,
    classes: tuple[str, ...],
    parts: Mapping[str, float],
    *,
    seed: int,
    stages: Stages,
    progress: Progress = silent,
) -> Site:
    """Keep the given classes, split the cells unless the manifest has a split, and determine the scale.

    Copies and near duplicates stay in one part. The result is written to the stage `split/<site>`.

    Raises:
        SplitError: the manifest's split leaks, or no split can be made.
        ManifestError: the manifest's split lacks the part `train` or `test`.
    """
    kept = manifest.select(pl.col("class").is_in(classes))
    rows = zip(*(kept.column(name) for name in ("path", "sha256", "class", "split", "crop_px")), strict=True)
    inputs = {"images": sorted(rows), "parts": dict(parts), "seed": seed} | recipe.described_crop()

    def settle(folder: Path) -> None:
        done = _split_once(kept, parts, seed, partial(progress, f"looking for near duplicates in {recipe.site}"))
        crop_px = _crop_px(recipe, done)
        write_manifest(done if crop_px == "whole" else done.with_crop_px(crop_px), folder / MANIFEST)

    folder = stages.run(split_stage(recipe.site), inputs, settle)
    settled = read_manifest(folder / MANIFEST, kept.root)
    return Site(recipe.site, settled, "whole" if recipe.crop_px == "whole" else settled.column("crop_px")[0])


def whole_site(recipe: SiteRecipe, manifest: Manifest, classes: tuple[str, ...], stages: Stages) -> Site:
    """Take all cells of the given classes for training, but those that the manifest keeps for validation or tests.

    Copies may lie in one part here, since nothing is scored. What was settled is written to the stage `split/<site>`.

    Raises:
        ManifestError: fewer than two of the classes have cells.
    """
    kept = manifest.select(pl.col("class").is_in(classes) & pl.col("split").is_in(["", "train"]))
    found = sorted(set(kept.column("class")))
    if len(found) < 2:
        raise ManifestError(
            f"expected cells of at least two of the classes {', '.join(classes)} at {recipe.site}, got "
            f"{', '.join(found) or 'none'}; its classes are {', '.join(sorted(set(manifest.column('class'))))}"
        )
    rows = zip(*(kept.column(name) for name in ("path", "sha256", "class", "crop_px")), strict=True)
    inputs = {"images": sorted(rows), "whole": True} | recipe.described_crop()

    def settle(folder: Path) -> None:
        done = Manifest(kept.table.with_columns(pl.lit("train").alias("split")), kept.root)
        crop_px = _crop_px(recipe, done)
        write_manifest(done if crop_px == "whole" else done.with_crop_px(crop_px), folder / MANIFEST)

    stages.run(split_stage(recipe.site), inputs, settle)
    return read_settled(recipe, stages.folder)


def read_settled(recipe: SiteRecipe, folder: Path, *, with_images: bool = True) -> Site:
    """Read the result of `prepare_site` in the folder of a study: the cells with their parts, and their scale.

    Args:
        recipe: the site.
        folder: of the study.
        with_images: whether the images themselves are needed. A study can be copied without them.

    Raises:
        ManifestError: there is no usable result, or an image is missing.
    """
    root = recipe.folder
    if root is None:
        assert recipe.manifest is not None  # the recipe's own check
        root = recipe.root or recipe.manifest.parent
    settled = read_listed(StudyFolder(folder).manifest(recipe.site), root)
    if with_images and (missing := missing_images(settled)):
        raise ManifestError(
            f"expected the images of {recipe.site} in {root}, from which {folder} learned and learns further, got "
            f"{len(missing)} missing, such as {missing[0]}; put them back. For another computer without them, export a "
            "model: `hemabridge export RUN BUNDLE`"
        )
    return Site(recipe.site, settled, "whole" if recipe.crop_px == "whole" else settled.column("crop_px")[0])


def _split_once(
    manifest: Manifest, parts: Mapping[str, float], seed: int, progress: Callable[[int, int], None]
) -> Manifest:
    own = set(manifest.column("split"))
    if own == {""}:
        return split(manifest, parts, seed=seed, together=near_duplicates(manifest, progress=progress))
    check_split(manifest)
    if not {"train", "test"} <= own or "" in own:
        raise ManifestError(
            f"expected the column split to say train or test (or validation) for every image, got {sorted(own)}; "
            f"split again (`{SPLIT_COMMAND}`), or empty the column and the study splits"
        )
    return manifest


def refuse_shared_files(source: Site, target: Site) -> None:
    """Make sure that no file belongs to both sites, since it could be in the training of one and the test of the other.

    Raises:
        SplitError: a file belongs to both.
    """
    shared = set(source.manifest.column("sha256")) & set(target.manifest.column("sha256"))
    if shared:
        rows = zip(source.manifest.column("path"), source.manifest.column("sha256"), strict=True)
        paths = sorted(path for path, digest in rows if digest in shared)
        raise SplitError(
            f"expected different images at {source.name} and {target.name}, got {len(paths)} that are at both, such as "
            f"{', '.join(paths[:3])}; take them out of one manifest"
        )


def cells_for_translation(recipe: SiteRecipe, size_px: int, progress: Progress = silent) -> CellSet:
    """Load all cells of a site, labeled or not, except those in the test part of its manifest."""
    manifest = read_site(recipe, progress)
    kept = manifest.select(pl.col("split") != "test")
    return load_cells(
        kept,
        classes=sorted(set(kept.column("class")) - {""}),
        size_px=size_px,
        crop_px=_crop_px(recipe, kept),
        progress=partial(progress, f"reading {recipe.site} at {size_px} px"),
    )


def _px_of(crop_um: float, um_per_px: float | None, manifest: Manifest, site: str) -> int:
    """Return a crop in pixels of a site's images.

    Raises:
        ManifestError: micrometers per pixel are not stated, and neither the files nor red cells say them.
    """
    scale = um_per_px
    if scale is None:
        found = scale_of_images(manifest.paths())
        if found is None:
            raise ManifestError(
                f"expected images of {site} whose files or red cells say micrometers per pixel, got none; state "
                "um_per_px beside crop_um, or crop_px in its place"
            )
        scale = found.um_per_px
    return max(8, round(crop_um / scale))


def _crop_px(recipe: SiteRecipe, manifest: Manifest) -> CropPx:
    if recipe.crop_px is not None:
        return recipe.crop_px
    if recipe.crop_um is not None:
        return _px_of(recipe.crop_um, recipe.um_per_px, manifest, recipe.site)
    stated = set(manifest.column("crop_px"))
    if len(stated) > 1:
        raise ManifestError(
            f"expected one crop_px for all images of {recipe.site}, got {sorted(map(str, stated))}; "
            "split the site by scale, or state crop_px in the recipe"
        )
    return stated.pop() or estimate_crop_px(manifest)
