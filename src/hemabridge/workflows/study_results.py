"""From the predictions of a study to its results and pictures."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import ManifestError
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import Closeness, StudyResults
from hemabridge.evaluation.rows import make_confusion, make_row, paired_tests, work_out_mode
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.metrics.closeness import mean_delta_e_2000, psnr_db
from hemabridge.report.pictures import CellStrip, StudyPictures
from hemabridge.workflows.recipe import StudyRecipe
from hemabridge.workflows.restained import Restained
from hemabridge.workflows.sites import Site

STRIPS_PER_CLASS = 3


def collect(
    recipe: StudyRecipe,
    classes: tuple[str, ...],
    predictions: Sequence[Predictions],
    test: CellSet,
    restained: Sequence[Restained],
    truth: CellSet | None,
    facts: Mapping[str, Any],
) -> StudyResults:
    """Score all predictions, test each re-staining against the originals, and measure closeness to a truth."""
    seen = {r.name: r.seen for r in restained}
    rows = [
        make_row(
            p,
            classes,
            mode=work_out_mode(test.hashes, None if p.snapshot is None else seen[p.snapshot]),
            seed=recipe.seed,
        )
        for p in predictions
    ]
    return StudyResults(
        name=recipe.name,
        classes=classes,
        rows=tuple(rows),
        paired=paired_tests(predictions),
        confusions=tuple(make_confusion(p, classes) for p in predictions),
        closeness=() if truth is None else closeness_to(truth, test, restained),
        facts=dict(facts),
    )


def closeness_to(truth: CellSet, test: CellSet, restained: Sequence[Restained]) -> tuple[Closeness, ...]:
    """Measure how near the originals, and each re-staining of them, are to the truth.

    Raises:
        ManifestError: the truth holds other cells.
    """
    if truth.ids != test.ids:
        raise ManifestError(
            f"expected the truth to hold the same {len(test)} cells under the same paths, got {len(truth)} cells; "
            "write both with one `hemabridge simulate`"
        )

    def measured(images: UInt8Images, name: str, snapshot: str | None) -> Closeness:
        return Closeness(
            images=name,
            snapshot=snapshot,
            n=len(images),
            psnr_db=float(np.mean(psnr_db(images, truth.images))),
            delta_e_2000=float(np.mean(mean_delta_e_2000(images, truth.images))),
        )

    originals = measured(test.images, "original", None)
    return (originals, *(measured(r.test.images, r.method, r.name) for r in restained))


def study_facts(recipe: StudyRecipe, source: Site, target: Site, restained: Sequence[Restained]) -> dict[str, Any]:
    """Return what the report states beside the tables: who, how many, how long."""
    facts: dict[str, Any] = {
        "source site": source.name,
        "target site": target.name,
        "source crop": f"{source.crop_px} px",
        "target crop": f"{target.crop_px} px",
        "cells as classified": f"{recipe.size_px} x {recipe.size_px} px",
        "mode asked for": recipe.mode,
        "seed": recipe.seed,
    }
    for role, site in (("source", source), ("target", target)):
        counts = Counter(zip(site.manifest.column("split"), site.manifest.column("class"), strict=True))
        for part in sorted({part for part, _ in counts}):
            listed = ", ".join(f"{name} {n}" for (p, name), n in sorted(counts.items()) if p == part)
            facts[f"{role} cells, {part}"] = f"{sum(n for (p, _), n in counts.items() if p == part)} ({listed})"
    for r in restained:
        facts[f"snapshot {r.name}"] = f"epoch {r.epoch:g}, {r.images} images seen per site"
    return facts


def study_pictures(
    classes: tuple[str, ...], test: CellSet, restained: Sequence[Restained], target: CellSet, truth: CellSet | None
) -> StudyPictures:
    """Choose the cells that the report shows: the same number of each class, the first ones by path, at both sites."""
    places = _first_of_each_class(test, STRIPS_PER_CLASS)
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
    shown = _first_of_each_class(target, STRIPS_PER_CLASS)
    return StudyPictures(cells=strips, target_cells=tuple(target.images[i] for i in shown))


def draw_figure_4(pictures: StudyPictures, restained: Sequence[Restained]) -> UInt8Image:
    """Draw the paper's Figure 4: the same cells as they came and at each epoch, cells of the target site beside."""
    has_truth = all(strip.truth is not None for strip in pictures.cells)
    columns = ["original", *(f"epoch {r.epoch:g}" for r in restained), *(["truth"] if has_truth else []), "", "target"]
    rows = []
    for strip, target in itertools.zip_longest(pictures.cells, pictures.target_cells[: len(pictures.cells)]):
        white = np.full_like(strip.original, 255)
        truth = [strip.truth] if has_truth else []
        rows.append([strip.original, *strip.restained.values(), *truth, white, white if target is None else target])
    return draw_sheet(rows, [strip.true_class for strip in pictures.cells], columns)


def _first_of_each_class(cells: CellSet, count: int) -> list[int]:
    order = np.argsort(np.asarray(cells.ids))
    return [int(i) for label in range(len(cells.classes)) for i in order[cells.labels[order] == label][:count]]
