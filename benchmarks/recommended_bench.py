"""The sites, members and translators of `benchmarks/leave_one_out.py`; whatever is trained is kept on disk."""

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.data.cells import CellSet, joined, load_cells
from hemabridge.data.simulate import HOSPITALS, measured_reference, photograph
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fit_ensemble import fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import Member, Members, train_members
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.models import open_model
from hemabridge.recipes.recipe import ClassifierRecipe, SiteRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.sites import Site, prepare_site, read_site, whole_site
from hemabridge.storage.files import folder_name
from hemabridge.storage.stages import DONE, Stages
from hemabridge.training.loop import drop_checkpoints
from hemabridge.training.run_context import RunContext, start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.translators.neural import NeuralStandardizer
from hemabridge.translators.train import train_translator

CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
BY_EYE = "raabin"
BOXES, BOXES_PX = "bccd", 304
REAL_SITES = ("tecom", BY_EYE, BOXES)
NATIVE_PX = 180
"""Cells are restyled at about the size that the camera saw."""
STARTS_APART = 100
"""Seeds of two starts differ by more than one start uses."""
FABRIC = start_fabric("cpu")


@dataclass(frozen=True, eq=False)
class Source:
    """A hospital's cells: those that may be seen, and those that are scored; both also at a larger size."""

    seen: CellSet
    test: CellSet
    larger: CellSet
    larger_test: CellSet


@dataclass(frozen=True, eq=False)
class Bench:
    """Settings, folder and the target's cells."""

    recipe: StudyRecipe
    stages: Stages
    target: Site

    def cells(self, site: Site, part: str, size_px: int) -> CellSet:
        """Return one part of a site."""
        return site.cells((part,), self.classes, size_px, lambda *_: None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The recipe's classes, or those that all hospitals have."""
        return self.recipe.classes or CLASSES

    @property
    def config(self) -> EnsembleConfig:
        """The recipe's ensemble."""
        assert self.recipe.ensemble is not None
        return self.recipe.ensemble

    def target_cells(self) -> CellSet:
        """Return the labeled cells that the members are trained on."""
        return self.cells(self.target, "train", self.recipe.ensemble_px)

    def members(self, start: int, further: Sequence[CellSet] = ()) -> tuple[Members, float]:
        """Return the members, trained once for each start, and the CPU seconds that they took.

        Args:
            start: of the random starts.
            further: labeled cells of other hospitals, from which they learn too.
        """
        seed, target, seconds = STARTS_APART * start, self.target_cells(), 0.0
        shown, own = joined(target, further), _digest(further)
        color: list[Member] = []
        shape: list[Member] = []
        for spec in self.recipe.classifiers:
            config = _trained(spec)
            snapshot, spent = self.classifier(folder_name(spec.name) + own, config, seed, further)
            (shape if config.view == "shape" else color).append(Member.of_snapshot(snapshot, shown))
            seconds += spent
        specs = self.config.members
        inputs = {
            "members": [spec.model_dump(mode="json") for spec in specs],
            "target": self.target.described(),
            "further": [list(cells.hashes) for cells in further],
            "seed": seed,
        }
        folder = self.stages.run(
            f"classifiers/members{own}-{start}",
            inputs,
            lambda own: _no_result(train_members(Members(()), specs, target, RunContext(own, FABRIC, seed), further)),
            drop_checkpoints,
        )
        for number, kind in enumerate(specs):
            for place in range(kind.count):
                snapshot = list_snapshots(folder / f"{number}/{place}")[-1].path
                (shape if kind.train.view == "shape" else color).append(Member.of_snapshot(snapshot, shown))
        return Members(tuple(color), tuple(shape)), seconds + _cpu_seconds(folder)

    def fitted(self, members: Members, seen: CellSet, context: RunContext) -> FittedEnsemble:
        """Return the recipe's ensemble, fitted to the cells `seen` without their labels; no translator takes part."""
        return fit_ensemble(members, seen, self.target_cells(), self.config, context)

    def plain(self, start: int) -> SnapshotClassifier:
        """Return the recipe's first classifier, trained on its own site's colors alone."""
        config = _trained(self.recipe.classifiers[0]).model_copy(update={"stain_augmentation": None})
        return open_model(self.classifier("plain", config, STARTS_APART * start)[0]).classifier

    def classifier(
        self, name: str, config: ClassifierConfig, seed: int, further: Sequence[CellSet] = ()
    ) -> tuple[Path, float]:
        """Return the last snapshot of a classifier, trained once, and the CPU seconds that it took."""
        target = self.cells(self.target, "train", max(self.recipe.size_px, config.size_px))
        inputs: dict[str, Any] = {
            "config": config.model_dump(mode="json"),
            "target": self.target.described(),
            "further": [list(cells.hashes) for cells in further],
            "seed": seed,
            "size_px": target.images.shape[1],
        }
        folder = self.stages.run(
            f"classifiers/{name}-{seed}",
            inputs,
            lambda folder: _no_result(fine_tune(config, target, folder, FABRIC, seed=seed, further=further)),
            drop_checkpoints,
        )
        return list_snapshots(folder)[-1].path, _cpu_seconds(folder)

    def translator(self, name: str, source: Source, seed: int) -> NeuralStandardizer:
        """Return the recipe's translator from that source to the target, trained once."""
        config = self.recipe.translator
        target = self.cells(self.target, "train", config.load_px)
        folder = self.stages.run(
            f"translators/{name}-{seed}",
            {"config": config.model_dump(mode="json"), "source": list(source.larger.hashes), "seed": seed},
            lambda folder: _no_result(train_translator(config, source.larger, target, folder, FABRIC, seed=seed)),
            drop_checkpoints,
        )
        return open_model(list_snapshots(folder)[-1].path).cell_standardizer()


def kept_bench(description: str) -> tuple[Bench, Path, list[int], list[str]]:
    """Return bench, folder of data, starts and hospitals, the options of a benchmark of what `leave_one_out` kept."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/recommended.toml"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/leave-one-out"))
    parser.add_argument("--starts", default="0,1,2", help="random starts of the classifiers")
    parser.add_argument("--sources", default=",".join(REAL_SITES), help="hospitals that the first command left out")
    spec = parser.parse_args()
    bench = new_bench(expect_kind(read_recipe(spec.recipe), StudyRecipe), spec.out, spec.data)
    return bench, spec.data, [int(start) for start in spec.starts.split(",")], spec.sources.split(",")


def new_bench(recipe: StudyRecipe, out: Path, data: Path) -> Bench:
    """Return the recipe's steps between Hospital Clínic's cells and others, which are kept in `out`."""
    stages = Stages(out)
    target = _site(recipe, stages, SiteRecipe(site="clinic", folder=data / "clinic", crop_px=180), clinic=True)
    return Bench(recipe, stages, target)


def _site(recipe: StudyRecipe, stages: Stages, spec: SiteRecipe, *, clinic: bool) -> Site:
    parts, classes = recipe.target_parts if clinic else recipe.source_parts, recipe.classes or CLASSES
    manifest = read_site(spec)
    counts = manifest.select(pl.col("class").is_in(classes)).table["class"].value_counts()["count"]
    if not clinic and counts.min() < len(parts):  # too few to split, such as Tecom's one basophil
        return whole_site(spec, manifest, classes, stages)
    return prepare_site(spec, manifest, classes, parts, seed=recipe.seed, stages=stages)


def real_site(bench: Bench, name: str, data: Path) -> Site:
    """Return a real hospital, by the names of `REAL_SITES`."""
    spec = SiteRecipe(site=name, folder=data / name)
    if name == BY_EYE:
        named = Path(__file__).with_name(f"{BY_EYE}_by_eye.csv")
        root = data / BY_EYE / "unlabelled"
        spec = SiteRecipe(site=name, manifest=named, root=root)
    if name == BOXES:
        folder = bench.stages.run("crops", {"px": BOXES_PX}, lambda own: write_crops(data / BOXES, own))
        spec = SiteRecipe(site=name, folder=folder / "cells")
    return _site(bench.recipe, bench.stages, spec, clinic=False)


def write_crops(collection: Path, out: Path) -> None:
    """Write a square around each leukocyte of a field that holds one, into a folder for its class."""
    with (collection / "labels.csv").open(encoding="utf-8") as file:
        classes = {row["field"]: row["leukocytes"] for row in csv.DictReader(file) if row["leukocytes"] in CLASSES}
    boxes: dict[str, list[dict[str, str]]] = {}
    with (collection / "boxes.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "WBC":
                boxes.setdefault(row["field"], []).append(row)
    margin = BOXES_PX // 2 + 1
    for field, name in sorted(classes.items()):
        if len(boxes.get(field, ())) != 1:
            continue
        (box,) = boxes[field]
        x, y = ((int(box[axis + "min"]) + int(box[axis + "max"])) // 2 for axis in "xy")
        padded = np.pad(
            read_image(collection / "fields" / field), ((margin, margin), (margin, margin), (0, 0)), "reflect"
        )
        square = padded[y + 1 : y + 1 + BOXES_PX, x + 1 : x + 1 + BOXES_PX]
        path = out / "cells" / name / f"{Path(field).stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.ascontiguousarray(square))


def real_source(bench: Bench, name: str, data: Path) -> Source:
    """Return a real hospital's cells, by the names of `REAL_SITES`."""
    site = real_site(bench, name, data)
    size_px, load_px = bench.recipe.ensemble_px, bench.recipe.translator.load_px
    return Source(
        bench.cells(site, "train", size_px),
        bench.cells(site, "test", size_px),
        bench.cells(site, "train", load_px),
        bench.cells(site, "test", load_px),
    )


def restyled_source(bench: Bench, hospitals: str) -> Source:
    """Return the target's validation and test cells, restyled as one hospital, or as several in turn (`a+b`)."""
    manifest = bench.target.manifest
    reference = None
    found = {}
    for part in ("validation", "test"):
        wanted = manifest.select(pl.col("split") == part)
        cells = load_cells(wanted, classes=bench.classes, size_px=NATIVE_PX, crop_px=bench.target.crop_px)
        reference = reference or measured_reference(list(cells.images[::10]))
        images = cells.images.copy()
        names = hospitals.split("+")
        for place, name in enumerate(names):
            own = slice(place, None, len(names))
            images[own] = photograph(cells.images[own], HOSPITALS[name], reference=reference)
        found[part] = replace(cells, images=images)
    size_px, load_px = bench.recipe.ensemble_px, bench.recipe.translator.load_px
    return Source(
        _resized(found["validation"], size_px),
        _resized(found["test"], size_px),
        _resized(found["validation"], load_px),
        _resized(found["test"], load_px),
    )


def _resized(cells: CellSet, size_px: int) -> CellSet:
    return replace(cells, images=np.stack([resize_square(image, size_px) for image in cells.images]))


def _digest(sets: Sequence[CellSet]) -> str:
    """Return a suffix for folders of what learned from further hospitals; nothing without any."""
    found = hashlib.sha256("".join(digest for cells in sets for digest in cells.hashes).encode())
    return f"-{found.hexdigest()[:8]}" if sets else ""


def _no_result(_: object) -> None:
    """Turn work that returns something into work of a stage."""


def _cpu_seconds(folder: Path) -> float:
    return float(json.loads((folder / DONE).read_text(encoding="utf-8"))["cpu_seconds"])


def _trained(spec: ClassifierRecipe) -> ClassifierConfig:
    assert spec.train is not None
    return spec.train
