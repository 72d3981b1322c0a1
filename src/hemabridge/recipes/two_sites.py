"""A fast check of the two sites of a study and their classes, before any long work.

No image is read, except to distinguish masks and thumbnails from images of the same name. No slow imports are needed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import ValidationError

from hemabridge.class_names import spelled_otherwise
from hemabridge.classifiers.config import without_weights
from hemabridge.data.layouts import find_layout, with_levels
from hemabridge.data.listing import list_images
from hemabridge.data.manifest import read_manifest
from hemabridge.errors import InputError, ManifestError, ModelError
from hemabridge.recipes.recipe import SiteRecipe, StudyRecipe
from hemabridge.storage.settings_file import explain

FEWEST: Final = 8
"""Fewest cells of a class at each site, if the recipe does not state the classes."""

MANIFEST: Final = "manifest.csv"
"""Default name of the manifest that `hemabridge index` writes into a folder."""


def with_manifests(
    recipe: StudyRecipe,
    *,
    source: Path | None = None,
    target: Path | None = None,
    source_root: Path | None = None,
    target_root: Path | None = None,
) -> StudyRecipe:
    """Return the recipe with its sites replaced by those of other manifests.

    A folder stands for the `manifest.csv` in it. The recipe's ground truth belongs to its source, and is removed if the
    source is replaced. A `crop_px` in pixels is removed with its site; `crop_px = "whole"` stays.

    Raises:
        ManifestError: a manifest holds several sites.
        InputError: a root is given without its manifest.
    """
    if (source_root and not source) or (target_root and not target):
        raise InputError("expected --source-root with --source, and --target-root with --target; got a root alone")
    changes: dict[str, SiteRecipe | None] = {}
    try:
        if source is not None:
            changes |= {"source": site_of_manifest(source, source_root, recipe.source), "truth": None}
        if target is not None:
            changes["target"] = site_of_manifest(target, target_root, recipe.target)
        return StudyRecipe.model_validate({**dict(recipe), **changes})
    except ValidationError as error:
        raise ManifestError(f"these two sites cannot be studied together:\n{explain(error, StudyRecipe)}") from error


def site_of_manifest(path: Path, root: Path | None = None, before: SiteRecipe | None = None) -> SiteRecipe:
    """Return the recipe of the site of a manifest, or of the folder that holds one.

    Args:
        path: the manifest, or its folder.
        root: what its paths are relative to; its folder if not given.
        before: the recipe that it replaces, whose squeezing of whole images is kept.

    Raises:
        ManifestError: it is no manifest, or holds several sites.
    """
    path = path / MANIFEST if (path / MANIFEST).is_file() else path
    sites = sorted(set(read_manifest(path, root).column("site")))
    if len(sites) != 1:
        raise ManifestError(f"expected the images of one site in {path}, got {sites}; split the file by site")
    squeezed = "whole" if before is not None and before.crop_px == "whole" else None
    return SiteRecipe(site=sites[0], manifest=path.resolve(), root=root and root.resolve(), crop_px=squeezed)


def check_sites(recipe: StudyRecipe) -> None:
    """Raise an error, within a second or two, if the sites cannot be studied or the file of a classifier is missing.

    A folder's files are counted by their paths. Some may be unreadable; the study therefore counts again.

    Raises:
        ModelError: the file of a classifier, or of the weights that it starts from, is missing.
        ManifestError: a site has no images, no labels or too few classes, or its manifest cannot be used.
        InputError: a folder cannot be listed.
    """
    _check_files(recipe)
    shared_classes(_classes(recipe.source), _classes(recipe.target), recipe.classes)


def _check_files(recipe: StudyRecipe) -> None:
    for config in recipe.trainings:
        if isinstance(config.weights, Path) and not config.weights.is_file():
            raise ModelError(without_weights(config.weights))
    for spec in recipe.classifiers:
        if spec.external is not None and not spec.external.file.is_file():
            raise ModelError(
                f"expected the file of the classifier {spec.name}, got nothing: {spec.external.file} does not exist"
            )


def _classes(site: SiteRecipe) -> list[str]:
    """Return the class of each image of a site, or ""; in a folder, classes follow from paths."""
    if site.folder is None:
        assert site.manifest is not None  # the recipe's own check
        return [str(name) for name in read_manifest(site.manifest, site.root).column("class")]
    if not site.folder.is_dir():
        found = "a file" if site.folder.exists() else "nothing"
        raise ManifestError(f"expected a folder of images at {site.folder}, got {found}; change it in the recipe")
    layout = find_layout(site.folder, subclasses=site.subclasses)
    listing = list_images(site.folder, layout.is_mask)
    if not listing.images:
        raise ManifestError(
            f"expected images in {site.folder}, got {listing.found_instead}; change the folder in the recipe"
        )
    layout = with_levels(layout, listing.images, site.folder)
    return [layout.place(PurePosixPath(path)).class_name for path in listing.images]


def shared_classes(source: Iterable[str], target: Iterable[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes of a study: those of the recipe, or all with at least `FEWEST` cells at both sites.

    Args:
        source: the class of each cell of the source; "" for an unlabeled one.
        target: the same for the target.
        wanted: the classes in the recipe; may be empty.

    Raises:
        ManifestError: a site has no labels, a wanted class is missing at a site, or fewer than two are shared.
    """
    counts = {"source": Counter(source), "target": Counter(target)}
    _check_labels(counts["source"], counts["target"])
    pairs = spelled_otherwise(counts["source"], counts["target"])
    unmatched = [(name, other) for name, other in pairs if not counts["target"][name] or not counts["source"][other]]
    if unmatched:
        told = ", ".join(f"{name!r} at the source and {other!r} at the target" for name, other in unmatched)
        raise ManifestError(f"expected each class to be written in one way, got {told}; choose one of the two")
    missing = [f"{spec!r} at the {name}" for spec in wanted for name in counts if counts[name][spec] == 0]
    if missing:
        raise ManifestError(
            f"expected every class of the recipe at both sites, got none of {', '.join(missing)}; change `classes`"
        )
    shared = wanted or tuple(
        sorted(c for c, n in counts["source"].items() if c and n >= FEWEST and counts["target"][c] >= FEWEST)
    )
    if len(shared) < 2:
        raise ManifestError(
            f"expected at least two classes with {FEWEST} or more cells at both sites, got {list(shared)}; "
            f"source has {dict(counts['source'])}, target has {dict(counts['target'])}"
        )
    return shared


def left_out_classes(source: Sequence[str], target: Sequence[str], classes: Sequence[str]) -> str:
    """Return one line about the classes of either site that a study leaves out; empty if there are none."""
    counts = Counter(source), Counter(target)
    names = sorted({*counts[0], *counts[1]} - {"", *classes})
    if not names:
        return ""
    told = ", ".join(f"{name} (source {counts[0][name]}, target {counts[1][name]})" for name in names)
    return f"left out, since a class needs {FEWEST} cells at both sites: {told}"


def _check_labels(source: Counter[str], target: Counter[str]) -> None:
    if set(target) == {""}:
        swapped = "; the source has labels: are --source and --target swapped?" if set(source) != {""} else ""
        raise ManifestError(
            f"expected labeled cells at the target, from which a study's classifiers learn, got {target['']} images "
            f"without a class{swapped or '; give the folder one folder per class, or fill the column class'}"
        )
    if set(source) == {""}:
        raise ManifestError(
            f"expected labeled cells at the source, by which a study scores, got {source['']} images without a class; "
            "to classify images without labels, run `hemabridge adapt TARGET SOURCE --out RUN --weights download`, or "
            "with a finished study of two labeled sites that has an ensemble `hemabridge evaluate STUDY IMAGES OUT "
            "--fit`. For such a study without a second labeled site, restyle the target's cells: `hemabridge restyle "
            "TARGET/manifest.csv restyled --hospital yellow-field`, then `hemabridge study RECIPE --source "
            "restyled/yellow-field --target TARGET`"
        )
