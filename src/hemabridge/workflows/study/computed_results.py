"""The results of a study, computed from its predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import ManifestError
from hemabridge.evaluation.comparisons import compare, pairs_with_nothing_done, pairs_with_originals
from hemabridge.evaluation.home_failure import HomeFailure
from hemabridge.evaluation.labels_saved import labels_saved
from hemabridge.evaluation.leaderboard import (
    LeaderboardSettings,
    contrast_snapshots,
    make_leaderboard,
    spread_over_seeds,
)
from hemabridge.evaluation.paired_bootstrap import RunKey, draw_scores
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import AuditFinding, Closeness, MorphologyCheck, StudyResults
from hemabridge.evaluation.rows import as_paired_test, make_confusion, make_row, work_out_mode
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.metrics.closeness import mean_delta_e_2000, psnr_db
from hemabridge.metrics.confidence import fit_temperature
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.workflows.study.restained import Restained


@dataclass(frozen=True)
class Findings:
    """All predictions and checks of a study.

    Attributes:
        tests, validation, seen, variants: as in `hemabridge.workflows.study.study.Tested`.
        source: name of the source site.
        majority: the one commonest class of the target's training part, if there is one.
        patients: of each scored cell of the source, by its id; None if not all are known.
        other_seeds: the tests of further seeds.
        guard: the guard's checks of the source's test cells.
        home: classifiers that fail on the target's test cells.
    """

    recipe: StudyRecipe
    classes: tuple[str, ...]
    tests: Sequence[Predictions]
    validation: Sequence[Predictions]
    seen: Mapping[RunKey, frozenset[str]]
    variants: Mapping[str, str]
    source: str
    majority: str | None
    patients: Mapping[str, str] | None
    other_seeds: Mapping[int, Sequence[Predictions]]
    guard: Sequence[MorphologyCheck]
    home: Sequence[HomeFailure]


def collect(
    findings: Findings,
    test: CellSet,
    restained: Sequence[Restained],
    truth: CellSet | None,
    facts: Mapping[str, Any],
    audit: Sequence[AuditFinding],
) -> StudyResults:
    """Score all predictions, test each re-staining against the originals, and measure closeness to the ground truth."""
    classes, seed = findings.classes, findings.recipe.seed
    own = [p for p in findings.tests if p.site == findings.source]
    with_originals = pairs_with_originals(findings.tests)
    with_nothing_done = pairs_with_nothing_done(own, findings.variants)
    compared = compare(list(dict.fromkeys([*with_originals, *with_nothing_done])))
    found = {(c.run.run, c.other.run): c for c in compared}
    draws = draw_scores(own, findings.patients, seed)
    temperatures = {p.classifier: fit_temperature(p.probabilities, p.truth) for p in findings.validation}
    settings = LeaderboardSettings(classes, findings.variants, temperatures, findings.majority)
    against = [found[run.run, other.run] for run, other in with_nothing_done]
    board = make_leaderboard(own, against, draws, settings)
    spreads = spread_over_seeds({seed: own, **findings.other_seeds}, classes)
    return StudyResults(
        name=findings.recipe.name,
        classes=classes,
        rows=tuple(
            make_row(p, classes, mode=work_out_mode(test.hashes, findings.seen.get(p.run)), seed=seed)
            for p in findings.tests
        ),
        paired=tuple(as_paired_test(found[run.run, other.run]) for run, other in with_originals),
        confusions=tuple(make_confusion(p, classes) for p in findings.tests),
        closeness=() if truth is None else closeness_to(truth, test, restained),
        facts=dict(facts),
        leaderboard=tuple(replace(s, spread=spreads.get(p.run)) for s, p in zip(board, own, strict=True)),
        contrasts=contrast_snapshots(own, draws),
        labels_saved=labels_saved(own, draws),
        audit=tuple(audit),
        guard=tuple(findings.guard),
        home=tuple(findings.home),
    )


def closeness_to(truth: CellSet, test: CellSet, restained: Sequence[Restained]) -> tuple[Closeness, ...]:
    """Measure the distance of the originals, and of each re-staining of them, from the ground truth.

    Raises:
        ManifestError: the ground truth holds other cells.
    """
    if truth.ids != test.ids:
        raise ManifestError(
            f"expected the ground truth of the same {len(test)} cells under the same paths, got {len(truth)} cells; "
            "write both with one `hemabridge simulate OUT`"
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
