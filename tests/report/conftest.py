"""A made-up study in the shape of the paper's, for tests of the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, TARGET, simulate_cells
from hemabridge.evaluation.comparisons import compare, pairs_with_nothing_done
from hemabridge.evaluation.labels_saved import labels_saved
from hemabridge.evaluation.leaderboard import LeaderboardSettings, contrast_snapshots, make_leaderboard
from hemabridge.evaluation.leaderboard_entries import SeedSpread
from hemabridge.evaluation.paired_bootstrap import draw_scores
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import AuditFinding, CellVerdict, Closeness, MorphologyCheck, StudyResults
from hemabridge.evaluation.rows import make_confusion, make_row, paired_tests, work_out_mode
from hemabridge.guard.leftover import draw_change
from hemabridge.report.pictures import CellStrip, ChangedCell, LossCurve, RefusedCell, StudyPictures

CLASSES = ("neutrophil", "lymphocyte", "reactive_lymphocyte", "blast")
CLASSIFIERS = ("ResNet18", "ResNet18 focal", "ResNet34", "ResNet34 focal", "MobileNetV2")
SNAPSHOTS = ("0010", "0015", "0020")
TRUTH = np.repeat([0, 1, 2, 3], [30, 25, 12, 25])

MakeStudy = Callable[..., StudyResults]
MakePictures = Callable[..., StudyPictures]


def predict(rng: np.random.Generator, skill: float, classes: Sequence[str], **names: Any) -> Predictions:
    """Predictions that are right with probability `skill`; the third class is the weak one."""
    weak = np.where(TRUTH == 2, 0.4, 1.0)
    right = rng.random(len(TRUTH)) < skill * weak
    predicted = np.where(right, TRUTH, (TRUTH + rng.integers(1, len(classes), len(TRUTH))) % len(classes))
    probabilities = np.full((len(TRUTH), len(classes)), 0.1, dtype=np.float32)
    probabilities[np.arange(len(TRUTH)), predicted] = 1 - 0.1 * (len(classes) - 1)
    fields = {"part": "test", "images": "original", "snapshot": None, "labels_used": 0, **names}
    return Predictions(
        **fields, ids=tuple(f"{i:03d}.png" for i in range(len(TRUTH))), truth=TRUTH, probabilities=probabilities
    )


def predict_all(source: str, target: str, classes: Sequence[str], classifiers: Sequence[str]) -> list[Predictions]:
    rng = np.random.default_rng(11)
    found = []
    for index, classifier in enumerate(classifiers):
        found.append(predict(rng, 0.99, classes, site=target, classifier=classifier))
        for labels in (0, 92):
            for snapshot in (None, *SNAPSHOTS):
                skill = 0.97 if labels else (0.40 if snapshot is None else 0.55 + 0.08 * index)
                images = "original" if snapshot is None else "cyclegan"
                names = {"site": source, "classifier": classifier, "images": images, "snapshot": snapshot}
                found.append(predict(rng, skill, classes, labels_used=labels, **names))
    return found


@pytest.fixture(scope="session")
def make_study() -> MakeStudy:
    def make(
        *,
        source: str = "Can Ruti",
        target: str = "Clinic",
        classes: Sequence[str] = CLASSES,
        classifiers: Sequence[str] = CLASSIFIERS,
        seen: Sequence[str] = ("z",),
        labels: bool = True,
        truth: bool = True,
        board: bool = False,
        refused: Mapping[str | None, int] | None = None,
    ) -> StudyResults:
        """`board` adds what newer studies have: leaderboard, contrasts, fewer labels, audit.

        `refused` adds a guard that refuses so many cells of each snapshot, and warns of four.
        """
        predictions = [p for p in predict_all(source, target, classes, classifiers) if labels or p.labels_used == 0]
        if board:
            predictions += predict_more(source, classes, classifiers)
        modes = [work_out_mode(["a", "b"], None if p.snapshot is None else seen) for p in predictions]
        closeness = tuple(Closeness("cyclegan", name, 92, 24.0 + i, 6.5 - i) for i, name in enumerate(SNAPSHOTS))
        results = StudyResults(
            name="paper-like",
            classes=tuple(classes),
            rows=tuple(make_row(p, classes, mode=m, seed=3) for p, m in zip(predictions, modes, strict=True)),
            paired=paired_tests(predictions),
            confusions=tuple(make_confusion(p, classes) for p in predictions),
            closeness=(Closeness("original", None, 92, 16.2, 14.8), *closeness) if truth else (),
            facts=facts(source, target),
        )
        results = replace(results, guard=tuple(guarded(name, count) for name, count in (refused or {}).items()))
        return with_board(results, predictions, source) if board else results

    return make


def guarded(snapshot: str | None, refused: int) -> MorphologyCheck:
    verdicts = np.repeat(["refuse", "warn", "pass"], [refused, 4, 88 - refused])
    cells = tuple(CellVerdict(f"{i:03d}.png", str(said), (), 1.5) for i, said in enumerate(verdicts))
    reasons = {"residual": refused, "lobe_change": 1} if refused else {}
    images = "cyclegan" if snapshot else "white-point"
    return MorphologyCheck(images, snapshot, 92, 88 - refused, 4, refused, reasons, 60, cells)


def predict_more(source: str, classes: Sequence[str], classifiers: Sequence[str]) -> list[Predictions]:
    """Fewer labels, on originals and on the last snapshot, and the first classifier after AdaBN."""
    rng = np.random.default_rng(5)
    found = []
    for name in classifiers:
        for labels in (8, 32):
            for snapshot in (None, SNAPSHOTS[-1]):
                names = {"images": "cyclegan" if snapshot else "original", "snapshot": snapshot}
                skill = 0.5 + labels / 100
                found.append(predict(rng, skill, classes, site=source, classifier=name, labels_used=labels, **names))
    return [*found, predict(rng, 0.5, classes, site=source, classifier=f"{classifiers[0]}, AdaBN")]


def with_board(results: StudyResults, predictions: Sequence[Predictions], source: str) -> StudyResults:
    own = [p for p in predictions if p.site == source]
    names = {p.classifier for p in own}
    variants = {name: name.removesuffix(", AdaBN") for name in names if name.endswith("AdaBN")}
    draws = draw_scores(own, None, 0)
    settings = LeaderboardSettings(results.classes, variants, {results.rows[0].classifier: 1.4}, results.classes[0])
    entries = make_leaderboard(own, compare(pairs_with_nothing_done(own, variants)), draws, settings)
    spread = SeedSpread((3, 4), entries[0].calibration.ece, 0.02, 0.5, 0.03)
    return replace(
        results,
        leaderboard=(replace(entries[0], spread=spread), *entries[1:]),
        contrasts=contrast_snapshots(own, draws),
        labels_saved=labels_saved(own, draws),
        audit=(
            AuditFinding("warning", f"{source} and the other site differ in color: nucleus by 14 units."),
            AuditFinding("note", "No patients are stated."),
        ),
    )


def facts(source: str, target: str) -> dict[str, Any]:
    seconds = {f"seconds, source-fine-tuning/resnet{i}/{name}": 61.25 * i for i in (18, 34, 50) for name in SNAPSHOTS}
    return {
        "source site": source,
        "target site": target,
        "source cells, train": "92 (blast 25, lymphocyte 25, neutrophil 30, reactive_lymphocyte 12)",
        "images seen": 36800,
        "CPU seconds": 2841.7,
        "versions": {"hemabridge": "0.1.0", "torch": "2.9.1+cpu", "python": "3.11.9"},
        "commit": None,
        "recipe": '[translator]\npreset = "cyclegan-cpu"\nseed = 3\n',
        **seconds,
    }


@pytest.fixture(scope="session")
def make_pictures() -> MakePictures:
    def make(
        classes: Sequence[str] = CLASSES,
        *,
        per_class: int = 2,
        size_px: int = 48,
        changed: bool = False,
        refused: bool = False,
    ) -> StudyPictures:
        def render(hospital: str) -> np.ndarray:
            return simulate_cells(CLASSES, per_class, HOSPITALS[hospital], 4, size_px)[0]

        source, truth = render("yellow-field").astype(float), render(TARGET)
        strips = []
        for i in range(len(truth)):
            mixed = {
                n: (source[i] * (1 - w) + truth[i] * w).astype(np.uint8)
                for n, w in zip(SNAPSHOTS, (0.5, 0.7, 0.85), strict=True)
            }
            name = classes[i // per_class]
            strips.append(CellStrip(f"{name}/{i}.png", name, source[i].astype(np.uint8), mixed, truth[i]))
        others = simulate_cells(CLASSES, 2, HOSPITALS[TARGET], 9, size_px)[0]
        seen = tuple(range(0, 36800, 400))
        losses = tuple(
            LossCurve(name, seen, tuple(scale * (0.3 + np.exp(-i / 12000)) for i in seen))
            for name, scale in (
                ("cycle, source", 3.0),
                ("cycle, target", 2.5),
                ("adversarial", 0.6),
                ("discriminators", 0.4),
            )
        )
        refusals = tuple(refused_of(strip) for strip in strips) if refused else ()
        if not changed:
            return StudyPictures(tuple(strips), tuple(others), losses, refused=refusals)
        said = (("ResNet18", classes[1], classes[0]), ("ResNet34", classes[2], classes[0]))
        cells = [ChangedCell(s.id, s.true_class, s.original, s.restained[SNAPSHOTS[-1]], said, ()) for s in strips[:3]]
        cells.append(replace(cells[0], id="broken.png", rescued=(), broken=said[:1]))
        return StudyPictures(tuple(strips), tuple(others), losses, tuple(cells), SNAPSHOTS[-1], refusals)

    return make


def refused_of(strip: CellStrip) -> RefusedCell:
    """The strip's cell, re-stained into one that was also moved."""
    after = np.roll(strip.restained[SNAPSHOTS[-1]], 5, axis=1)
    pictures = draw_change(strip.original, after)
    return RefusedCell(strip.id, strip.true_class, ("cyclegan", SNAPSHOTS[-1]), *pictures, ("residual", "nucleus_dice"))
