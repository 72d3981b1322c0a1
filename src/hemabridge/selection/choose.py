"""The choice of a snapshot: applies the rule to the measured snapshots and describes the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hemabridge.models.selection_file import Selection, SnapshotRow
from hemabridge.selection.choice_in_words import why
from hemabridge.selection.measure import Ruler
from hemabridge.selection.rule import Choice, RuleConfig, Table, above_floor, choose
from hemabridge.selection.snapshot_measures import SnapshotMeasures, interval_of


@dataclass(frozen=True, eq=False)
class Measured:
    """One snapshot and its measures; `readers` is the share of cells that human readers accepted, if known."""

    name: str
    sha256: str
    images: int
    readings: SnapshotMeasures
    readers: float | None = None


def select_snapshot(
    run: str,
    ruler: Ruler,
    snapshots: Sequence[Measured],
    config: RuleConfig,
    facts: Mapping[str, Any],
) -> Selection:
    """Apply the rule to snapshots in the order of training, and explain the choice.

    The rule minimizes the stain distance; with classifiers their disagreement; with labels their error.
    """
    compared = ruler.compared([one.readings for one in snapshots])
    snapshots = [replace(one, readings=readings) for one, readings in zip(snapshots, compared, strict=True)]
    choice = choose(table_of(snapshots, config), config)
    rows = tuple(_row(one, choice, place, config) for place, one in enumerate(snapshots))
    names = [row.snapshot for row in rows]
    alike = tuple(names[place] for place in choice.alike)
    chosen = None if choice.chosen is None else rows[choice.chosen]
    return Selection(
        run=run,
        chosen=None if chosen is None else chosen.snapshot,
        alike=alike,
        reasons=why(chosen, alike, rows, config, by_shape=ruler.has_shape_members),
        original=_original(ruler.originals(), config),
        snapshots=rows,
        kid_floor=ruler.kid_floor(),
        facts={**facts, "rule": config.model_dump()},
    )


def table_of(snapshots: Sequence[Measured], config: RuleConfig) -> Table:
    """Return the measures that the rule compares."""
    readings = [one.readings for one in snapshots]
    errors = [(r.error, r.error_drawn) for r in readings if r.error is not None and r.error_drawn is not None]
    disagreements = [
        (r.disagreement, r.disagreement_drawn)
        for r in readings
        if r.disagreement is not None and r.disagreement_drawn is not None
    ]
    distances, margin, octaves = (
        [(r.stain, r.stain_drawn) for r in readings],
        config.stain_margin,
        config.smoothing_octaves,
    )
    if len(errors) == len(readings):
        distances = errors
    elif len(disagreements) == len(readings):
        distances, margin, octaves = disagreements, config.disagreement_margin, 0.0
    return Table(
        images=tuple(one.images for one in snapshots),
        distance=np.array([value for value, _ in distances]),
        distance_drawn=np.stack([drawn for _, drawn in distances], axis=1),
        margin=margin,
        octaves=octaves,
        refused=np.array([r.refused for r in readings]),
        refused_drawn=np.stack([r.refused_drawn for r in readings], axis=1),
        kept=np.array([r.kept for r in readings]),
        kept_drawn=np.stack([r.kept_drawn for r in readings], axis=1),
        tinted=np.array([r.tinted for r in readings]),
        tinted_drawn=np.stack([r.tinted_drawn for r in readings], axis=1),
        allowed=np.array([_accepted(one.readers, config) for one in snapshots]),
    )


def _accepted(readers: float | None, config: RuleConfig) -> bool:
    return readers is None or readers >= config.reader_floor


def _row(one: Measured, choice: Choice, place: int, config: RuleConfig) -> SnapshotRow:
    return _described(
        one.readings,
        config,
        snapshot=one.name,
        sha256=one.sha256,
        images=one.images,
        smoothed=float(choice.smoothed[place]),
        won=float(choice.won[place]),
        readers=one.readers,
    )


def _original(readings: SnapshotMeasures, config: RuleConfig) -> SnapshotRow:
    return _described(
        readings,
        config,
        snapshot="original",
        sha256="",
        images=0,
        smoothed=None,
        won=0.0,
        readers=None,
    )


def _described(
    readings: SnapshotMeasures,
    config: RuleConfig,
    *,
    snapshot: str,
    sha256: str,
    images: int,
    smoothed: float | None,
    won: float,
    readers: float | None,
) -> SnapshotRow:
    return SnapshotRow(
        snapshot=snapshot,
        sha256=sha256,
        images=images,
        stain=readings.stain,
        stain_interval=interval_of(readings.stain_drawn),
        smoothed=smoothed,
        lab={name: values["lab"] for name, values in readings.compartments.items()},
        optical_density={name: values["od"] for name, values in readings.compartments.items()},
        kid=readings.kid,
        kid_interval=interval_of(readings.kid_drawn),
        domain_auc=readings.auc,
        refused=readings.refused,
        refused_interval=interval_of(readings.refused_drawn),
        kept=readings.kept,
        kept_interval=interval_of(readings.kept_drawn),
        tinted=readings.tinted,
        fit=bool(above_floor(np.array(readings.refused), np.array(readings.kept), np.array(readings.tinted), config))
        and _accepted(readers, config),
        won=won,
        confidence=readings.confidence,
        prior_shift=readings.prior_shift,
        disagreement=readings.disagreement,
        error=readings.error,
        readers=readers,
    )
