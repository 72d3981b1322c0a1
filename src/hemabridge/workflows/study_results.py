"""From the predictions of a study to its results and pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import ManifestError
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import Closeness, StudyResults
from hemabridge.evaluation.rows import make_confusion, make_row, paired_tests, work_out_mode
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.metrics.closeness import gradient_correlation, luminance_ssim, mean_delta_e_2000, psnr_db
from hemabridge.report.pictures import CellStrip, LossCurve, StudyPictures
from hemabridge.training.events import read_events
from hemabridge.workflows.recipe import StudyRecipe
from hemabridge.workflows.restained import Restained
from hemabridge.workflows.sites import Site

STRIPS_PER_CLASS = 3
FIGURE_CELLS_PER_CLASS = 2
LOSS_POINTS = 60


def collect(
    recipe: StudyRecipe,
    classes: tuple[str, ...],
    predictions: Sequence[Predictions],
    test: CellSet,
    restained: Sequence[Restained],
    truth: CellSet | None,
    facts: Mapping[str, Any],
    seen: Mapping[tuple[str, str | None], frozenset[str]],
) -> StudyResults:
    """Score all predictions, test each re-staining against the originals, and measure closeness to a truth.

    `seen` holds the hashes of the files that each re-staining, by method and snapshot, was trained or fitted on.
    """
    rows = [
        make_row(
            p,
            classes,
            mode=work_out_mode(test.hashes, seen.get((p.images, p.snapshot))),
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
    return (originals, *(measured(r.test.images, r.method, r.snapshot_name) for r in restained))


def study_facts(recipe: StudyRecipe, source: Site, target: Site, restained: Sequence[Restained]) -> dict[str, Any]:
    """Return what the report states beside the tables: who, how many, how long."""
    facts: dict[str, Any] = {
        "source site": source.name,
        "target site": target.name,
        "source crop": _crop_text(source),
        "target crop": _crop_text(target),
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
        if r.snapshot is not None:
            facts[f"snapshot {r.name}"] = f"epoch {r.snapshot.epoch:g}, {r.snapshot.images} images seen per site"
    return facts


def _crop_text(site: Site) -> str:
    return "whole images, squeezed" if site.crop_px == "whole" else f"{site.crop_px} px"


def structure_facts(test: CellSet, restained: Sequence[Restained]) -> dict[str, str]:
    """Say how much of each cell's structure re-staining kept: medians and 5th percentiles over the test cells.

    SSIM of the luminance and correlation of the gradients, input against output; 1 is all of it.
    """
    facts = {}
    for r in restained:
        ssim = luminance_ssim(r.test.images, test.images)
        gradients = gradient_correlation(r.test.images, test.images)
        facts[f"structure kept, {r.name}"] = (
            f"luminance SSIM {np.median(ssim):.3f} (5th percentile {np.percentile(ssim, 5):.3f}), "
            f"gradient correlation {np.median(gradients):.3f} ({np.percentile(gradients, 5):.3f}), n = {len(test)}"
        )
    return facts


def loss_curves(events: Path, points: int = LOSS_POINTS) -> tuple[LossCurve, ...]:
    """Return the translator's losses as means over `points` equal stretches of its training."""
    steps = read_events(events, "step")
    if not steps:
        return ()
    stretches = np.array_split(np.arange(len(steps)), min(points, len(steps)))
    seen = tuple(int(steps[places[-1]]["images"]) for places in stretches)
    return tuple(
        LossCurve(name, seen, tuple(float(np.mean([steps[i]["losses"][name] for i in places])) for places in stretches))
        for name in steps[0]["losses"]
    )


def study_pictures(
    classes: tuple[str, ...],
    test: CellSet,
    restained: Sequence[Restained],
    target: CellSet,
    truth: CellSet | None,
    losses: tuple[LossCurve, ...] = (),
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
    return StudyPictures(cells=strips, target_cells=tuple(target.images[i] for i in shown), losses=losses)


def draw_figure_4(
    classes: tuple[str, ...], test: CellSet, restained: Sequence[Restained], target: CellSet, truth: CellSet | None
) -> UInt8Image:
    """Draw the paper's Figure 4: the same cells as they came and at each epoch, above target cells of their class."""
    labels = [label for label in range(len(classes)) for _ in range(FIGURE_CELLS_PER_CLASS)]
    rows = {"original": _column_cells(test, labels)}
    rows |= {r.label: _column_cells(r.test, labels) for r in restained}
    if truth is not None:
        rows["truth"] = _column_cells(truth, labels)
    rows["target_site"] = _column_cells(target, labels)
    return draw_sheet(list(rows.values()), list(rows), [classes[label] for label in labels])


def _column_cells(cells: CellSet, labels: Sequence[int]) -> list[UInt8Image]:
    """Return one cell per label, the first ones by path; white where there are no more."""
    chosen = {label: iter(_first_of_class(cells, label, len(labels))) for label in set(labels)}
    white = np.full(cells.images.shape[1:], 255, dtype=np.uint8)
    places = [next(chosen[label], None) for label in labels]
    return [white if place is None else cells.images[place] for place in places]


def _first_of_class(cells: CellSet, label: int, count: int) -> list[int]:
    order = np.argsort(np.asarray(cells.ids))
    return [int(i) for i in order[cells.labels[order] == label][:count]]


def _first_of_each_class(cells: CellSet, count: int) -> list[int]:
    return [i for label in range(len(cells.classes)) for i in _first_of_class(cells, label, count)]
