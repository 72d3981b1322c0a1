"""The inputs of `hemabridge adapt`: the common context of its steps, and the cells of all hospitals."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

from lightning_fabric import Fabric

from hemabridge.data.cells import CellSet
from hemabridge.data.listing import by_reason, is_image_name
from hemabridge.data.manifest import Manifest
from hemabridge.data.new_cells import crop_of, list_new_cells, read_new_cells
from hemabridge.domain.site_profile import FEWEST_CELLS
from hemabridge.errors import InputError, ManifestError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.kept_images import KeptImages
from hemabridge.models.open import OpenModels
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import Site, prepare_site, read_site, refuse_shared_files, whole_site
from hemabridge.recipes.two_sites import FEWEST, MANIFEST, site_of_manifest
from hemabridge.storage.files import folder_name
from hemabridge.storage.stages import Stages
from hemabridge.training.run_context import RunContext
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.adapt.steps import Steps

PARTS: Final = {"train": 0.9, "test": 0.1}
"""Parts of one's own cells, and their shares: for training, and held out for measures."""

_SHOWN: Final = 3


@dataclass(frozen=True)
class Context:
    """The common settings of all steps of one call, and the models that they opened."""

    out: Path
    config: AdaptConfig
    seed: int
    stages: Stages
    fabric: Fabric
    steps: Steps
    opened: OpenModels = field(default_factory=OpenModels)

    @property
    def progress(self) -> Progress:
        """Called after each piece of work; its labels get the number of the present step."""
        return self.steps.progress

    def cells(self, site: Site, part: str, classes: tuple[str, ...]) -> CellSet:
        """Return one part of a site, cut from the original images."""
        return site.cells((part,), classes, self.config.cell_px, self.progress)

    def within(self, folder: Path) -> RunContext:
        """Return the context of a training in a folder."""
        return RunContext(folder, self.fabric, self.seed, self.progress)


def labeled_sites(
    ours: Path, also: tuple[Path, ...], context: Context
) -> tuple[Site, tuple[Site, ...], tuple[str, ...], dict[str, int]]:
    """Read the labeled hospitals: return one's own, split into `PARTS`, the further ones, and the classes.

    The last item is the number of one's own cells of each class that is left out, since it has too few.

    Raises:
        ManifestError: there are fewer than two classes of enough cells.
        InputError: two hospitals have the same name.
        SplitError: two hospitals have an image in common.
    """
    recipe, *others = (recipe_of(path) for path in (ours, *also))
    names = [folder_name(each.site) for each in (recipe, *others)]
    if len(set(names)) < len(names):
        raise InputError(
            f"expected hospitals whose names differ, got {', '.join(each.site for each in (recipe, *others))}; "
            "rename a folder, since its name is that of the hospital"
        )
    manifest = read_site(recipe, context.progress)
    classes, too_few = _classes_of(manifest, ours, context.progress)
    own = prepare_site(
        recipe, manifest, classes, PARTS, seed=context.seed, stages=context.stages, progress=context.progress
    )
    further = tuple(whole_site(each, read_site(each, context.progress), classes, context.stages) for each in others)
    for one, other in combinations((own, *further), 2):
        refuse_shared_files(one, other)
    return own, further, classes, too_few


def _classes_of(manifest: Manifest, ours: Path, progress: Progress) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes of enough cells, and the number of cells of each other class, which is also told."""
    counts = Counter(manifest.column("class"))
    classes = tuple(sorted(name for name, count in counts.items() if name and count >= FEWEST))
    if len(classes) < 2:
        found = ", ".join(f"{name or 'without a class'} {count}" for name, count in sorted(counts.items()))
        raise ManifestError(
            f"expected at least two classes with {FEWEST} or more cells in {ours}, got {found}; give your own labeled "
            "cells first, as a folder with a folder of images for each class"
        )
    if counts[""]:
        progress(f"left out of {ours}: {counts['']} images that are in no folder of a class", 0, 0)
    too_few = {name: count for name, count in sorted(counts.items()) if name and name not in classes}
    for name, count in too_few.items():
        progress(f"left out of {ours}: {name}, of which there are {count} cells; a class needs {FEWEST}", 0, 0)
    return classes, too_few


def recipe_of(path: Path) -> SiteRecipe:
    """Return the site of a folder of labeled images, or of a manifest.

    Raises:
        ManifestError: it is a single image, or another file that is no manifest.
    """
    if is_image_name(path) and path.is_file():
        raise ManifestError(f"expected a folder with a folder of images for each class, got one image: {path}")
    if path.is_file() or (path / MANIFEST).is_file():
        return site_of_manifest(path)
    return SiteRecipe(site=path.resolve().name, folder=path.resolve())


def check_new(new: Path) -> None:
    """Check before any training that the folder of the other hospital lists enough images.

    Raises:
        InputError: there are too few.
    """
    listed = list_new_cells(new, None, new.resolve().name)
    _check_count(len(listed.manifest), new)


def _check_count(count: int, new: Path) -> None:
    if count < FEWEST_CELLS:
        raise InputError(
            f"expected at least {FEWEST_CELLS} images of the other hospital, to learn what its cells look like, got "
            f"{count} that can be read in {new}; give more"
        )


def unlabeled_cells(new: Path, classes: tuple[str, ...], labeled: tuple[Site, ...], context: Context) -> CellSet:
    """Return the cells of the other hospital; classes in its manifest or folders are not read.

    Raises:
        InputError: there are too few.
        ManifestError: an image is among the labeled ones.
    """
    listed = list_new_cells(new, None, new.resolve().name)
    kept = KeptImages()
    crop, check = crop_of(listed.manifest, kept), FieldCheck.of(listed.manifest.paths(), kept)
    size_px, progress = context.config.cell_px, context.progress
    cells = read_new_cells(listed, classes, crop, size_px, progress, check.reason, kept=kept)
    for line in by_reason(cells.failed.items()):
        progress(f"left out of {new}: {line}", 0, 0)
    _check_count(len(cells.paths), new)
    for site in labeled:
        labeled_as = dict(zip(site.manifest.column("sha256"), site.manifest.column("path"), strict=True))
        own = zip(cells.hashes, cells.paths, strict=True)
        shared = [f"{path} (there {labeled_as[digest]})" for digest, path in own if digest in labeled_as]
        if shared:
            names = ", ".join(shared[:_SHOWN]) + ", ..." * (len(shared) > _SHOWN)
            raise ManifestError(
                f"expected other images in {new} than among the labeled cells of {site.name}, got "
                f"{len(shared)} that are in both, such as {names}; take them out of one"
            )
    return cells.unlabeled(classes)
