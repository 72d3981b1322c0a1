"""What the morphology guard lets each snapshot of a run do, for `hemabridge select`."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.guard.thresholds import FEWEST, Thresholds, floors, learn_thresholds, read_thresholds
from hemabridge.models.model import Model
from hemabridge.models.study_folder import LIMITS, limits_stage
from hemabridge.selection.morphology_floor import guarded_places
from hemabridge.storage.stages import Stages


class SnapshotLimits:
    """The guard's limits of each snapshot, learned from the target re-stained into itself, as in a study.

    Attributes:
        learned_from: how many cells of the target they are learned from; 0: there are too few, and the strictest are
            taken.
    """

    def __init__(self, folder: Path, target: CellSet, seen: Collection[str]) -> None:
        """Take cells of the target, those that no training saw where that are enough, and at most `GUARDED`.

        Args:
            folder: of the run; what is learned is kept there.
            target: cells of the target that are not scored.
            seen: hashes of the files that the translator was trained on.
        """
        unseen = np.flatnonzero([digest not in seen for digest in target.hashes])
        own = target.subset(unseen) if len(unseen) >= FEWEST else target
        self._cells, self._stages = own.subset(guarded_places(len(own))), Stages(folder)
        self.learned_from = len(self._cells) if len(self._cells) >= FEWEST else 0

    def of(self, model: Model) -> Thresholds:
        """Learn the limits of a snapshot, or read what an earlier call learned."""
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
