"""The common inputs of all pairs of a synthesis: the site with its parts, the cells of each class, the run folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from lightning_fabric import Fabric

from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import Manifest
from hemabridge.errors import ManifestError
from hemabridge.models.open import OpenModels
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import SiteRecipe
from hemabridge.recipes.sites import prepare_site, read_site
from hemabridge.recipes.synthesis import SynthesisRecipe
from hemabridge.storage.stages import Stages
from hemabridge.workflows.simulate.simulate import simulate_stage

MOST_OPEN_BYTES: Final = 2**30
"""Size of the snapshots that are kept in memory, at most: all of a run at 64 px, ten of one at 256 px."""

PARTS: Final = ("train", "validation", "test")
FEWEST: Final = 5
"""Smallest number of cells of each class in each part."""


class SynthesisInputs:
    """The site of one synthesis, and its open models. Cells are loaded when they are first needed, and cached.

    Raises:
        HemabridgeError: the site cannot be used; the message states why.
    """

    def __init__(self, recipe: SynthesisRecipe, out: Path, fabric: Fabric, progress: Progress) -> None:
        self.recipe, self.out, self.fabric, self.progress = recipe, out, fabric, progress
        self.stages = Stages(out)
        self.opened = OpenModels(MOST_OPEN_BYTES)
        place = recipe.site or self._simulated()
        manifest = with_merged(read_site(place, progress), recipe)
        self.site = prepare_site(
            place, manifest, recipe.classes, recipe.parts, seed=recipe.seed, stages=self.stages, progress=progress
        )
        self._check_counts()
        self._load = cache(self._cells)

    def cells(self, part: str, *classes: str, size_px: int | None = None) -> CellSet:
        """Return the cells of some classes of a part, labeled in that order; `size_px` of the recipe if not stated.

        All classes of the recipe if none is stated.
        """
        return of_classes(self._load(part, size_px or self.recipe.size_px), classes or self.recipe.classes)

    def counts(self, *classes: str) -> dict[str, dict[str, int]]:
        """Return how many cells of each class each part has."""
        pairs = zip(self.site.manifest.column("class"), self.site.manifest.column("split"), strict=True)
        found = Counter(pairs)
        return {name: {part: found[name, part] for part in PARTS} for name in classes}

    def _cells(self, part: str, size_px: int) -> CellSet:
        return self.site.cells((part,), self.recipe.classes, size_px, self.progress)

    def _simulated(self) -> SiteRecipe:
        spec = self.recipe.simulate
        assert spec is not None  # the recipe's own check
        folder = simulate_stage(
            self.stages,
            spec.hospital,
            n_per_class=spec.n_per_class,
            classes=self.recipe.classes,
            seed=spec.seed,
            size_px=spec.size_px,
            progress=self.progress,
        )
        manifest = folder / spec.hospital / "manifest.csv"
        return SiteRecipe(site=spec.hospital, manifest=manifest, crop_px=spec.size_px)

    def _check_counts(self) -> None:
        few = [
            f"{n} of {name} in {part}"
            for name, parts in self.counts(*self.recipe.classes).items()
            for part, n in parts.items()
            if n < FEWEST
        ]
        if few:
            raise ManifestError(
                f"expected at least {FEWEST} cells of each class in each of {', '.join(PARTS)}, got {'; '.join(few)}; "
                "change `parts`, split the manifest into these three, or leave a pair out"
            )


def with_merged(manifest: Manifest, recipe: SynthesisRecipe) -> Manifest:
    """Return the manifest with the classes that the recipe merges under one name.

    Raises:
        ManifestError: a class of the recipe has no cells.
    """
    names = {own: name for name, merged in recipe.merged.items() for own in merged}
    table = manifest.table.with_columns(pl.col("class").replace(names))
    found = sorted(set(table["class"]) - {""})
    missing = [name for name in recipe.classes if name not in found]
    if missing:
        raise ManifestError(f"expected cells of every class of the pairs, got none of {missing}; the site has {found}")
    return Manifest(table, manifest.root)


def of_classes(cells: CellSet, classes: Sequence[str]) -> CellSet:
    """Return the cells of some classes, labeled by their order."""
    known = [cells.classes.index(name) for name in classes]
    chosen = cells.subset(np.flatnonzero(np.isin(cells.labels, known)))
    labels = np.array([known.index(label) for label in chosen.labels.tolist()], np.int64)
    return replace(chosen, labels=labels, classes=tuple(classes))
