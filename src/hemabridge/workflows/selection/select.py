"""`hemabridge select`: measure every snapshot of a run on cells that are not scored, and choose one."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.guard.thresholds import FEWEST, Thresholds, floors, learn_thresholds, read_thresholds
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.models.model import Model
from hemabridge.models.open import open_translator
from hemabridge.models.selection_file import FILE, PICTURE, Selection
from hemabridge.models.study_folder import LIMITS, cells_file, limits_stage, selection_stage
from hemabridge.progress import Progress, silent
from hemabridge.selection.choice_picture import pareto_png
from hemabridge.selection.choose import Measured, select_snapshot
from hemabridge.selection.descriptor import describe
from hemabridge.selection.measure import Ruler
from hemabridge.selection.morphology_floor import MEASURE, guarded_places
from hemabridge.selection.readers import read_reader_scores
from hemabridge.selection.rule import RuleConfig
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import RECIPE, hold_folder
from hemabridge.storage.stages import Stages
from hemabridge.workflows.selection.run import CELLS, Run, read_run, snapshot_names
from hemabridge.workflows.study.restained import read_images


def select(
    folder: Path,
    *,
    rule: RuleConfig | None = None,
    cells: int = CELLS,
    labels: bool = False,
    readers: Path | None = None,
    progress: Progress = silent,
) -> Selection:
    """Measure every snapshot of a translator, choose one, and write `selection.json` and `selection.png`.

    The cells are from the source's part `validation` if it has one, else from its training part, and never from the
    part that is scored. The results state how many of them the translator was trained on.

    Args:
        folder: the folder of a study, or of a translator trained by `hemabridge train`.
        rule: the constants of the rule.
        cells: largest number of cells of each site that are measured.
        labels: choose by the error of the study's classifiers on the source's labels, in place of the stain.
        readers: CSV with the columns snapshot and accepted, the share of cells that readers accepted.
        progress: called after each snapshot.

    Raises:
        InputError: there is no such run, there are too few cells, or there are no labels or classifiers.
        RunError: another process works in the folder.
    """
    config = rule or RuleConfig()
    with hold_folder(_existing(folder)):
        scores = {} if readers is None else read_reader_scores(readers, snapshot_names(folder))
        run = read_run(folder, cells, progress)
        if labels and not (run.labeled and run.classifiers):
            raise InputError(
                f"expected labeled cells and classifiers to choose by labels, got a run without them: {folder}; "
                "leave --labels out, or select on the folder of a study"
            )
        features, features_name = _features(run)
        ruler = Ruler(
            run.source.images,
            run.target.images,
            features=features,
            classifiers=tuple(run.classifiers.values()),
            shape_members=tuple(run.shape_members.values()),
            labels=run.source.labels if labels else None,
        )
        limits = SnapshotLimits(folder, run.target, _seen(run))
        measured = _measure(folder, run, ruler, limits, scores, progress)
        facts = _facts(run, ruler, limits, features_name, labels)
        found = select_snapshot(run.name, ruler, measured, config, facts)
        _write(found, config, folder)
    return found


class SnapshotLimits:
    """The guard's limits for each snapshot, learned from the target's cells re-stained by it, as in a study.

    Attributes:
        learned_from: number of cells that limits are learned from; 0 if there are too few, so that the strictest limits
            are used.
    """

    def __init__(self, folder: Path, target: CellSet, seen: Collection[str]) -> None:
        """Choose at most `GUARDED` cells of the target, only unseen ones if these are enough.

        Args:
            folder: of the run, in which the limits are stored.
            target: cells of the target that are not scored.
            seen: hashes of the files that the translator was trained on.
        """
        unseen = np.flatnonzero([digest not in seen for digest in target.hashes])
        own = target.subset(unseen) if len(unseen) >= FEWEST else target
        self._cells, self._stages = own.subset(guarded_places(len(own))), Stages(folder)
        self.learned_from = len(self._cells) if len(self._cells) >= FEWEST else 0

    def of(self, model: Model) -> Thresholds:
        """Learn the limits of a snapshot, or read those of an earlier call."""
        if not self.learned_from:
            return floors()
        cells = self._cells

        def work(out: Path) -> None:
            limits = learn_thresholds(model.cell_standardizer(), cells.images)
            (out / LIMITS).write_text(limits.to_json(), encoding="utf-8")

        inputs = {
            "snapshot": model.sha256,
            "cells": cells.hashes,
            "crop_px": cells.crop_px,
            "size_px": cells.images.shape[1],
        }
        done = self._stages.run(limits_stage(model.path.stem), inputs, work)
        return read_thresholds(done / LIMITS)


def _existing(folder: Path) -> Path:
    if not (folder / RECIPE).is_file():
        raise InputError(
            f"expected the folder of a study or of a translator's training, with recipe.toml, got "
            f"{'another folder' if folder.is_dir() else 'none'}: {folder}"
        )
    return folder


def _features(run: Run) -> tuple[Any, str]:
    """Return the features for KID and AUC, and their name: those of the first network, else color and texture."""
    for name, classifier in run.classifiers.items():
        if isinstance(classifier, NetworkClassifier):
            return classifier.features, f"the classifier {name}"
    return describe, "color and texture"


def _seen(run: Run) -> set[str]:
    """Return the hashes of the files that the translator was trained on."""
    return set(run.last.header.seen)


def _measure(
    folder: Path, run: Run, ruler: Ruler, limits: SnapshotLimits, scores: dict[str, float], progress: Progress
) -> list[Measured]:
    measured = []
    for number, snapshot in enumerate(run.snapshots, 1):
        model = run.last if snapshot.path == run.last.path else open_translator(snapshot.path)
        images = _restained(folder, model, run.source)
        readings = ruler.read(images, limits.of(model))
        measured.append(Measured(snapshot.name, model.sha256, model.header.images, readings, scores.get(snapshot.name)))
        progress("measuring snapshots", number, len(run.snapshots))
    return measured


def _restained(folder: Path, model: Model, cells: CellSet) -> UInt8Images:
    """Re-stain the cells, or read those of an earlier call."""

    def work(out: Path) -> None:
        images = model.cell_standardizer().standardize(cells.images)
        np.save(out / cells_file("restained"), images, allow_pickle=False)

    inputs = {
        "snapshot": model.sha256,
        "cells": cells.hashes,
        "crop_px": cells.crop_px,
        "size_px": cells.images.shape[1],
    }
    done = Stages(folder).run(selection_stage(model.path.stem), inputs, work)
    return read_images(done / cells_file("restained"), len(cells))


def _facts(run: Run, ruler: Ruler, limits: SnapshotLimits, features: str, labels: bool) -> dict[str, Any]:
    seen = _seen(run)
    return {
        "part of the source": run.part,
        "cells of the source": len(run.source),
        "of which the translator was trained on": sum(digest in seen for digest in run.source.hashes),
        "cells of the target": len(run.target),
        "compartments": list(ruler.measured),
        "features": features,
        "structure": MEASURE,
        "limits of the guard from": limits.learned_from,
        "classifiers": list(run.classifiers),
        "shape members": list(run.shape_members),
        "labels of the source used": labels,
    }


def _write(found: Selection, config: RuleConfig, folder: Path) -> None:
    picture = pareto_png(found, config.most_refused)
    with atomic_write(folder / PICTURE) as temporary:
        temporary.write_bytes(picture)
    with atomic_write(folder / FILE) as temporary:
        temporary.write_text(found.to_json(), encoding="utf-8")
