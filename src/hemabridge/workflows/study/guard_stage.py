"""The morphology guard in a study: changes of shape in the source's test cells by each re-staining.

The guard compares cells before and after at the size at which the model works (`Restained.size_px`); at any other size
the resizing would count as a change of shape. A translator's limits are also valid for `hemabridge guard` and
`hemabridge standardize`, which cut cells at the same size.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from hemabridge.data.cells import CellSet
from hemabridge.errors import RunError
from hemabridge.evaluation.results import CellVerdict, MorphologyCheck
from hemabridge.guard.cell_sets import guard_cells
from hemabridge.guard.thresholds import FEWEST, Thresholds, floors, learn_thresholds
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.models.guard_file import Guard, guard_path
from hemabridge.models.study_folder import GUARD, VERDICTS, guard_stage, restained_stage
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.workflows.guard import FALLBACK, guard_of
from hemabridge.workflows.study.inputs import SOURCE, TARGET, StudyInputs
from hemabridge.workflows.study.restained import Restained

LEARNED_FROM: Final = 100
"""Number of held-out target cells for the limits; each takes a fraction of a second per method."""

FITTED_ON: Final = 200
"""Most training cells of the target on which the fallback, and normalizers from the target to itself, are fitted."""

_CHECK: Final = TypeAdapter(MorphologyCheck)
_VERDICTS: Final = FileKind("the verdicts of a finished stage", RunError, "remove its folder")


class StudyGuard:
    """Learns the limits of each re-staining of a study, and checks the source's test cells by them."""

    def __init__(self, inputs: StudyInputs) -> None:
        self.inputs, self.stages = inputs, inputs.stages

    def run(self, restained: Sequence[Restained]) -> tuple[MorphologyCheck, ...]:
        """Return the guard's check of each re-staining.

        Each gets a folder with its `guard.json` and its verdicts. The guard of a snapshot is also written beside the
        snapshot for `hemabridge standardize`, if its limits were learned and there is no guard yet.
        """
        found = []
        for number, method in enumerate(restained, 1):
            found.append(self._checked(method))
            self.inputs.progress("checking morphology", number, len(restained))
        return tuple(found)

    def _checked(self, method: Restained) -> MorphologyCheck:
        inputs = {
            "restained": self.stages.key(restained_stage(method.name)),
            "model": method.model.sha256,
            "target": self.inputs.target.described(),
            "order": self.inputs.target.listed(),
            "size_px": method.size_px,
            "learned_from": LEARNED_FROM,
        }
        folder = self.stages.run(guard_stage(method.name), inputs, lambda out: self._check(method, out))
        guard = Guard.read(folder / GUARD)
        beside = guard_path(method.model.path)
        if method.snapshot is not None and guard.thresholds.cells and not beside.exists():
            guard.write(beside)
        return replace(_read(folder / VERDICTS), images=method.method)  # the name in an earlier version

    def _check(self, method: Restained, folder: Path) -> None:
        train = _spread(self.inputs.cells(TARGET, "train", size_px=method.size_px), FITTED_ON)
        thresholds = self._thresholds(method, train)
        guard_of(method.model.sha256, thresholds, train.images, FALLBACK).write(folder / GUARD)
        checked = check(self.inputs.cells(SOURCE, "test", size_px=method.size_px), method, thresholds)
        with atomic_write(folder / VERDICTS) as temporary:
            temporary.write_bytes(_CHECK.dump_json(checked))

    def _thresholds(self, method: Restained, train: CellSet) -> Thresholds:
        """Learn limits from the target's held-out cells; normalizers are refitted from the target to itself for this.

        With too few cells the strictest limits are used, which state that they are learned from 0 cells.
        """
        held = self._held_out(method.size_px)
        if len(held) < FEWEST:
            return floors()
        own: Standardizer
        if method.method in self.inputs.recipe.normalizers:
            own = fit_on_cells(method.method, train.images, train.images)
        else:
            own = method.model.cell_standardizer()
        return learn_thresholds(own, held.images)

    def _held_out(self, size_px: int) -> CellSet:
        """Return the target's validation part; together with its test part if it has too few cells."""
        if self.inputs.has_validation():
            held = self.inputs.cells(TARGET, "validation", size_px=size_px)
            if len(held) >= FEWEST:
                return _spread(held, LEARNED_FROM)
        return _spread(self.inputs.cells(TARGET, "validation", "test", size_px=size_px), LEARNED_FROM)


def check(test: CellSet, method: Restained, thresholds: Thresholds) -> MorphologyCheck:
    """Check the source's test cells, re-stained by one method."""
    found = guard_cells(test, method.test, thresholds)
    verdicts = found.verdicts
    return MorphologyCheck(
        images=method.method,
        snapshot=method.snapshot_name,
        n=len(test),
        passed=verdicts.count("pass"),
        warned=verdicts.count("warn"),
        refused=verdicts.count("refuse"),
        reasons=found.reasons(),
        limits_from=thresholds.cells,
        cells=tuple(
            CellVerdict(cell, verdict, reasons, float(severity))
            for cell, verdict, reasons, severity in zip(
                found.ids, verdicts.verdicts, verdicts.reasons, verdicts.severity, strict=True
            )
        ),
    )


def _spread(cells: CellSet, count: int) -> CellSet:
    """Return at most `count` cells, evenly spaced."""
    return cells.subset(evenly_spaced(len(cells), count))


def _read(path: Path) -> MorphologyCheck:
    return _VERDICTS.read_as(path, _CHECK)
