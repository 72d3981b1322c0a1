"""The pictures of a study: cells for the report, the paper's Figure 4, and training losses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import MorphologyCheck
from hemabridge.evaluation.rows import ORIGINAL
from hemabridge.guard.leftover import draw_change
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.report.pictures import CellStrip, ChangedCell, LossCurve, RefusedCell, StudyPictures
from hemabridge.sampling import evenly_spaced
from hemabridge.training.events import read_events
from hemabridge.workflows.study.restained import Restained

STRIPS_PER_CLASS = 3
FIGURE_CELLS_PER_CLASS = 2
LOSS_POINTS = 60
REFUSED_SHOWN = 12
"""Most cells in the report that the guard refused."""
CHANGED_SHOWN = 12
"""Most cells in the report whose classification a re-staining corrected, and most whose classification it broke."""


def loss_curves(events: Path, points: int = LOSS_POINTS) -> tuple[LossCurve, ...]:
    """Return the translator's losses as means over `points` equal stretches of its training."""
    logged = [step for step in read_events(events, "step") if step.get("losses")]
    if not logged:
        return ()
    steps = [step for step in logged if step["losses"].keys() == logged[0]["losses"].keys()]
    stretches = np.array_split(np.arange(len(steps)), min(points, len(steps)))
    seen = tuple(int(steps[places[-1]]["images"]) for places in stretches)
    return tuple(
        LossCurve(
            name,
            seen,
            tuple(float(np.mean([steps[i]["losses"][name] for i in places])) for places in stretches),
        )
        for name in steps[0]["losses"]
    )


def study_pictures(
    classes: tuple[str, ...],
    test: CellSet,
    restained: Sequence[Restained],
    target: CellSet,
    truth: CellSet | None,
    losses: tuple[LossCurve, ...] = (),
    tests: Sequence[Predictions] = (),
) -> StudyPictures:
    """Choose the cells for the report at both sites: equally many of each class, evenly spaced over their paths."""
    places = _some_of_each_class(test, STRIPS_PER_CLASS)
    strips = tuple(
        CellStrip(
            id=test.ids[i],
            true_class=classes[test.labels[i]],
            original=test.images[i],
            restained={r.name: r.test.images[i] for r in restained},
            truth=None if truth is None else truth.images[i],
        )
        for i in places
    )
    shown = _some_of_each_class(target, STRIPS_PER_CLASS)
    last = restained[-1] if restained else None
    return StudyPictures(
        cells=strips,
        target_cells=tuple(target.images[i] for i in shown),
        losses=losses,
        changed=() if last is None else changed_cells(classes, test, last, tests),
        changed_by=None if last is None else last.name,
    )


def changed_cells(
    classes: tuple[str, ...], test: CellSet, restained: Restained, tests: Sequence[Predictions]
) -> tuple[ChangedCell, ...]:
    """Return the cells whose classification a re-staining corrected, then those that it broke, for most classifiers.

    Only classifiers that used no labels of the source, and were also tested on originals, are counted.
    """
    free = [run for run in tests if run.labels_used == 0 and set(run.ids) == set(test.ids)]
    originals = {run.classifier: run for run in free if run.images == ORIGINAL}
    after = [run for run in free if (run.images, run.snapshot) == (restained.method, restained.snapshot_name)]
    pairs = [(originals[run.classifier], run) for run in after if run.classifier in originals]
    cells = [_changed(classes, test, restained, place, pairs) for place in range(len(test))]
    rescued = sorted((c for c in cells if c.rescued), key=lambda c: (-len(c.rescued), len(c.broken), c.id))
    broken = sorted((c for c in cells if c.broken), key=lambda c: (-len(c.broken), len(c.rescued), c.id))
    shown = (*rescued[:CHANGED_SHOWN], *broken[:CHANGED_SHOWN])
    return tuple({cell.id: cell for cell in shown}.values())


def _changed(
    classes: tuple[str, ...],
    test: CellSet,
    restained: Restained,
    place: int,
    pairs: Sequence[tuple[Predictions, Predictions]],
) -> ChangedCell:
    cell, truth = test.ids[place], int(test.labels[place])
    rescued: list[tuple[str, str, str]] = []
    broken: list[tuple[str, str, str]] = []
    for before, after in pairs:
        was = int(before.predicted[before.ids.index(cell)])
        now = int(after.predicted[after.ids.index(cell)])
        if (was == truth) != (now == truth):
            (rescued if now == truth else broken).append((after.classifier, classes[was], classes[now]))
    return ChangedCell(
        cell, classes[truth], test.images[place], restained.test.images[place], tuple(rescued), tuple(broken)
    )


def refused_cells(
    test: CellSet, restained: Sequence[Restained], guard: Sequence[MorphologyCheck]
) -> tuple[RefusedCell, ...]:
    """Return cells whose re-staining the guard refused: the worst of each method, then the second worst, and so on.

    Methods keep their order. If there are too many cells, the last methods, which other pictures show, have priority.
    """
    by_name = {(r.method, r.snapshot_name): r for r in restained}
    ranked = [
        (rank, -place, checked, verdict)
        for place, checked in enumerate(guard)
        for rank, verdict in enumerate(
            sorted((c for c in checked.cells if c.verdict == "refuse"), key=lambda c: (-c.severity, c.id))
        )
    ]
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:REFUSED_SHOWN]
    shown = []
    for _, _, checked, verdict in sorted(chosen, key=lambda entry: (-entry[1], entry[0])):
        place = test.ids.index(verdict.id)
        before, after, change = draw_change(
            test.images[place], by_name[checked.images, checked.snapshot].test.images[place]
        )
        shown.append(
            RefusedCell(
                id=verdict.id,
                true_class=test.classes[test.labels[place]],
                restained_by=(checked.images, checked.snapshot),
                original=before,
                restained=after,
                change=change,
                reasons=verdict.reasons,
            )
        )
    return tuple(shown)


def draw_figure_4(
    classes: tuple[str, ...], test: CellSet, restained: Sequence[Restained], target: CellSet, truth: CellSet | None
) -> UInt8Image:
    """Draw the paper's Figure 4: the same cells, original and at each epoch, above target cells of their class."""
    labels = [label for label in range(len(classes)) for _ in range(FIGURE_CELLS_PER_CLASS)]
    rows = {"original": _column_cells(test, labels)}
    rows |= {r.label: _column_cells(r.test, labels) for r in restained}
    if truth is not None:
        rows["truth"] = _column_cells(truth, labels)
    rows["target_site"] = _column_cells(target, labels)
    return draw_sheet(list(rows.values()), list(rows), [classes[label] for label in labels])


def _column_cells(cells: CellSet, labels: Sequence[int]) -> list[UInt8Image]:
    """Return one cell per label, evenly spaced over the paths of its class; white if there are no more."""
    chosen = {label: iter(_some_of_class(cells, label, len(labels))) for label in set(labels)}
    white = np.full(cells.images.shape[1:], 255, dtype=np.uint8)
    places = [next(chosen[label], None) for label in labels]
    return [white if place is None else cells.images[place] for place in places]


def _some_of_class(cells: CellSet, label: int, count: int) -> list[int]:
    order = np.argsort(np.asarray(cells.ids))
    own = order[cells.labels[order] == label]
    return [int(place) for place in own[evenly_spaced(len(own), count)]]


def _some_of_each_class(cells: CellSet, count: int) -> list[int]:
    return [i for label in range(len(cells.classes)) for i in _some_of_class(cells, label, count)]
