"""The common inputs of a study's stages: recipe, both sites with split and scale, their cells, and the run folder."""

import copy
from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, TypeAlias

import polars as pl
from lightning_fabric import Fabric
from pydantic import TypeAdapter

from hemabridge.data.audit import audit
from hemabridge.data.cells import CellSet, load_cells
from hemabridge.errors import RunError
from hemabridge.evaluation.results import AuditFinding
from hemabridge.models.study_folder import AUDIT, AUDIT_STAGE, StudyFolder, stage_of_seed
from hemabridge.progress import Progress
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.sites import prepare_site, read_site, refuse_shared_files, whole_site
from hemabridge.recipes.two_sites import left_out_classes, shared_classes
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.storage.stages import Stages

Which: TypeAlias = Literal["source", "target"]
SOURCE: Final = "source"
TARGET: Final = "target"

_AUDIT: Final = FileKind("what an audit found", RunError, "remove its folder, and run the same command again")


@dataclass(frozen=True)
class _Audited:
    """The part of an audit's JSON that a study uses."""

    findings: tuple[AuditFinding, ...]


_AUDITED: Final = TypeAdapter(_Audited)


class StudyInputs:
    """Both sites of one study. Cells are loaded when they are first needed, and cached.

    Raises:
        HemabridgeError: a site cannot be used; the message states why.
    """

    def __init__(self, recipe: StudyRecipe, out: Path, fabric: Fabric, progress: Progress) -> None:
        self.recipe, self.out, self.fabric, self.progress = recipe, out, fabric, progress
        self.stages = Stages(out)
        source, target = (read_site(site, progress) for site in (recipe.source, recipe.target))
        labels = source.column("class"), target.column("class")
        self.classes = shared_classes(*labels, recipe.classes)
        if not recipe.classes and (line := left_out_classes(*labels, self.classes)):
            progress(line, 0, 0)
        settle = partial(
            prepare_site, classes=self.classes, seed=recipe.seed, stages=self.stages, progress=self.progress
        )
        self.source = settle(recipe.source, source, parts=recipe.source_parts)
        self.target = settle(recipe.target, target, parts=recipe.target_parts)
        self.further_targets = tuple(
            whole_site(site, read_site(site, progress), classes=self.classes, stages=self.stages)
            for site in recipe.further_targets
        )
        for one, other in combinations((self.source, self.target, *self.further_targets), 2):
            refuse_shared_files(one, other)
        self._load = cache(self._cells)
        self._load_further = cache(self._further)

    def cells(self, which: Which, *parts: str, size_px: int | None = None) -> CellSet:
        """Return the cells of some parts of a site, cut from the original images.

        Args:
            which: the site.
            parts: of its split.
            size_px: side of the cells that the consumer needs, in pixels; that of the translator if not given.
        """
        return self._load(which, parts, size_px or self.recipe.size_px)

    def further(self, size_px: int) -> tuple[CellSet, ...]:
        """Return the labeled cells of the further targets, from which the classifiers learn beside the target's."""
        return self._load_further(size_px)

    def further_described(self) -> dict[str, object]:
        """Return what identifies those cells, by one key; nothing without further targets."""
        return {"further_targets": [site.described() for site in self.further_targets]} if self.further_targets else {}

    def with_seed(self, seed: int) -> "StudyInputs":
        """Return the same sites, parts and cells for a study with another seed, in its own folder."""
        other = copy.copy(self)
        other.recipe = self.recipe.model_copy(update={"seed": seed, "more_seeds": ()})
        other.out = StudyFolder(self.out).of_seed(seed).path
        told = self.stages.listener
        other.stages = Stages(other.out, told and (lambda name, seconds: told(stage_of_seed(seed, name), seconds)))
        return other

    def patients(self) -> dict[str, str] | None:
        """Return the patient of each of the source's test cells, by its id; None if not all are known."""
        tests = self.source.manifest.select(pl.col("split") == "test")
        found = dict(zip(tests.column("path"), tests.column("patient"), strict=True))
        return found if all(found.values()) else None

    def has_validation(self) -> bool:
        """Return whether the target has a validation part."""
        return "validation" in self.target.manifest.column("split")

    def majority(self) -> str | None:
        """Return the most frequent class of the target's training part; None if several are equally frequent."""
        counts = Counter(self.target.manifest.select(pl.col("split") == "train").column("class")).most_common(2)
        return None if len(counts) > 1 and counts[0][1] == counts[1][1] else str(counts[0][0])

    def audit(self) -> tuple[AuditFinding, ...]:
        """Audit the images of both sites, or read an earlier audit; empty if the recipe switches the audit off."""
        if not self.recipe.audit:
            return ()

        def work(folder: Path) -> None:
            progress = partial(self.progress, "auditing both sites")
            sites = (self.source, self.target)
            squeezed = [site.name for site in sites if site.crop_px == "whole"]
            found = audit(sites[0].manifest, other=sites[1].manifest, squeezed=squeezed, progress=progress)
            with atomic_write(folder / AUDIT) as temporary:
                temporary.write_text(found.to_json(), encoding="utf-8")

        inputs = {
            "source": [self.source.described(), self.source.listed()],
            "target": [self.target.described(), self.target.listed()],
        }
        path = self.stages.run(AUDIT_STAGE, inputs, work) / AUDIT
        return _AUDIT.read_as(path, _AUDITED).findings

    @property
    def seen_parts(self) -> tuple[str, ...]:
        """The parts of the source that a method may be fitted on without labels; validation is reserved for choices."""
        scored = ("test",) if self.recipe.mode == "strict" else ()
        return tuple(part for part in self.recipe.source_parts if part not in ("validation", *scored))

    def truth(self) -> CellSet | None:
        """Return the source's test cells with the target's appearance, in simulations; else None."""
        if self.recipe.truth is None:
            return None
        manifest = read_site(self.recipe.truth, self.progress)
        wanted = manifest.select(pl.col("path").is_in(self.cells(SOURCE, "test").ids))
        return load_cells(wanted, classes=self.classes, size_px=self.recipe.size_px, crop_px=self.source.crop_px)

    def _cells(self, which: Which, parts: tuple[str, ...], size_px: int) -> CellSet:
        site = self.source if which == SOURCE else self.target
        return site.cells(parts, self.classes, size_px, self.progress)

    def _further(self, size_px: int) -> tuple[CellSet, ...]:
        return tuple(site.cells(("train",), self.classes, size_px, self.progress) for site in self.further_targets)
