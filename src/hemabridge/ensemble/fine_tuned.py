"""Semi-supervised fine-tuning of an ensemble on cells of the source, some of which may be labeled."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.semi_supervised import PseudoLabeledCells, fine_tune_semi_supervised
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import Member
from hemabridge.ensemble.pseudo_labels import pseudo_labels
from hemabridge.errors import InputError
from hemabridge.training.run_context import RunContext


def fine_tuned_ensemble(
    ensemble: FittedEnsemble, source: CellSet, labels: NDArray[np.int64], config: EnsembleConfig, context: RunContext
) -> FittedEnsemble:
    """Return the ensemble after each member that was trained here was fine-tuned on cells of the source.

    One half of each batch are the labeled cells on which the member was trained. The other half are cells of the
    source with the ensemble's pseudo-labels: their re-stainings for color members, the original images for others.
    Their batch norm statistics are then those of both sites, and no further ones are used.

    Args:
        ensemble: the ensemble; its members hold their own labeled cells.
        source: cells of the source; their labels are not read.
        labels: int64[N], the class of each labeled cell, -1 for all others.
        config: `min_confidence` and `semi_supervised`.
        context: its folder gets a run folder for each member; the same call resumes them.

    Raises:
        InputError: a member's own labeled cells are not given, or no cell of the source can be used.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    prediction = ensemble.predict(source.images)
    targets = pseudo_labels(prediction, config.min_confidence, labels)
    restained = np.stack([shown for _, shown in ensemble.inputs(source.images)])
    color = PseudoLabeledCells(restained, *targets, source.hashes)
    original = PseudoLabeledCells(source.images[None], *targets, source.hashes)
    shown = [(member, color) for member in ensemble.color_members]
    shown += [(member, original) for member in ensemble.shape_members]
    total = sum(member.snapshot is not None for member, _ in shown)
    tuned: list[Member] = []
    place = 0
    for member, cells in shown:
        if member.snapshot is not None:
            own = context.within(str(place), f"fine-tuning {place + 1} of {total}")
            member, place = _fine_tuned(member, cells, config, own), place + 1
        tuned.append(member)
    count = len(ensemble.color_members)
    return replace(
        ensemble,
        color_members=tuple(tuned[:count]),
        shape_members=tuple(tuned[count:]),
        site_statistics=None,
    )


def _fine_tuned(member: Member, source: PseudoLabeledCells, config: EnsembleConfig, context: RunContext) -> Member:
    if not isinstance(member.classifier, SnapshotClassifier) or member.cells is None:
        raise InputError(
            f"expected a member with its own labeled cells for fine-tuning, got {member.snapshot} without; "
            "fit the ensemble again, or give the cells when it is loaded"
        )
    end = fine_tune_semi_supervised(
        config.semi_supervised,
        member.classifier,
        member.cells,
        source,
        context.folder,
        context.fabric,
        seed=context.seed,
        progress=context.progress,
    )
    return Member.of_snapshot(end, member.cells)
