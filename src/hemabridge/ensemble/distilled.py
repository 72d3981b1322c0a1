"""Distillation of an ensemble, for one hospital, into a single classifier for daily use."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.classifiers.classifier import SnapshotClassifier
from hemabridge.classifiers.config import SemiSupervisedConfig
from hemabridge.classifiers.protocol import Probabilities
from hemabridge.classifiers.semi_supervised import PseudoLabeledCells, fine_tune_semi_supervised
from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.pseudo_labels import pseudo_labels
from hemabridge.errors import InputError
from hemabridge.training.run_context import RunContext


def distill(
    fitted: FittedEnsemble,
    source: CellSet,
    prediction: Probabilities,
    config: SemiSupervisedConfig,
    context: RunContext,
    labels: NDArray[np.int64] | None = None,
) -> Path:
    """Train the first color member further until it predicts from original cells what the ensemble predicts.

    One half of each batch are the labeled cells on which the member was trained, the other half are cells of the source
    with the ensemble's prediction as their label, each predicted class equally often (knowledge distillation, Hinton,
    Vinyals & Dean 2015, arXiv:1503.02531). The prediction is not sharpened: where the ensemble is uncertain, it is
    wrong more often. The classifier needs no re-staining. It predicts, as the members do, by the mean over mirrored
    views.

    Args:
        fitted: the ensemble.
        source: cells of the hospital; their labels are not read.
        prediction: the ensemble's, of these cells, float32[N, C].
        config: length and learning rate.
        context: its folder is the run folder; the same call resumes.
        labels: int64[N], the class of cells that an expert labeled, which replaces the prediction; -1 for all others.

    Returns:
        The last snapshot.

    Raises:
        InputError: no color member was trained here, or its labeled cells are not at hand.
        Interrupted, NonFiniteLossError, RunError: see `hemabridge.training.loop.fit`.
    """
    trained = [
        (each.classifier, each.cells)
        for each in fitted.color_members
        if isinstance(each.classifier, SnapshotClassifier) and each.snapshot is not None
    ]
    if not trained or trained[0][1] is None:
        raise InputError(
            "expected a color member that was trained here, with its labeled cells, to distill the ensemble into, got "
            f"{len(fitted.color_members)} color members without; add one with `train` to the recipe"
        )
    start, target = trained[0]
    assert target is not None  # checked above
    _, weights = pseudo_labels(prediction, 0.0, labels)
    wanted = prediction.astype(np.float32)
    if labels is not None:
        known = labels != UNKNOWN
        wanted[known] = np.eye(wanted.shape[1], dtype=np.float32)[labels[known]]
    shown = PseudoLabeledCells(source.images[None], wanted, weights, source.hashes)
    return fine_tune_semi_supervised(
        config,
        start,
        target,
        shown,
        context.folder,
        context.fabric,
        seed=context.seed,
        mirrored=True,
        progress=context.progress,
    )
