"""Fine-tuning of an ensemble on an expert's labels in short rounds, and its cross-validation on these labels."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fine_tuned import fine_tuned_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.metrics.classification import balanced_accuracy
from hemabridge.training.run_context import RunContext

ROUNDS: Final = 3
"""Fine-tuning is divided into so many rounds. Home accuracy is checked after each of them."""

MOST_LOST_AT_HOME: Final = 0.01
"""Largest loss of balanced accuracy on the target's own cells, 0..1: one point, within which labels may do no harm."""


@dataclass(frozen=True, eq=False)
class FineTuned:
    """An ensemble after fine-tuning.

    Attributes:
        ensemble: of the last round that was kept; the ensemble as it was, if none was.
        home: balanced accuracy on home cells, 0..1, before and after each round that was kept.
        stopped: whether a round was not kept, since home accuracy fell too far.
    """

    ensemble: FittedEnsemble
    home: tuple[float, ...]
    stopped: bool


def fine_tune_in_rounds(
    fitted: FittedEnsemble,
    source: CellSet,
    labels: NDArray[np.int64],
    home: CellSet,
    config: EnsembleConfig,
    context: RunContext,
) -> FineTuned:
    """Fine-tune the members until home accuracy falls by more than `MOST_LOST_AT_HOME`, at most `ROUNDS` rounds.

    Half of each batch are the labeled cells of the target on which the members were trained, so that they do not forget
    them (`FittedEnsemble.fine_tuned`). Pseudo-labels of cells without a label are renewed in each round.

    Args:
        fitted: the ensemble.
        source: cells of the new hospital.
        labels: int64[N], the class of labeled cells, -1 for all others.
        home: labeled cells of the target on which no member was trained.
        config: learning rate, and number of images of all rounds together.
        context: its folder gets a folder for each round; the same call resumes.

    Raises:
        See `FittedEnsemble.fine_tuned`.
    """
    whole = config.semi_supervised
    short = whole.model_copy(update={"images": max(whole.batch_size, -(-whole.images // ROUNDS))})
    settings = config.model_copy(update={"semi_supervised": short})
    ensemble, accuracies = fitted, [home_accuracy(fitted, home)]
    for number in range(ROUNDS):
        own = context.within(str(number), f"round {number + 1} of {ROUNDS}")
        tuned = fine_tuned_ensemble(ensemble, source, labels, settings, own)
        accuracy = home_accuracy(tuned, home)
        if accuracy < accuracies[0] - MOST_LOST_AT_HOME:
            return FineTuned(ensemble, tuple(accuracies), stopped=True)
        ensemble = tuned
        accuracies.append(accuracy)
    return FineTuned(ensemble, tuple(accuracies), stopped=False)


def home_accuracy(ensemble: FittedEnsemble, home: CellSet) -> float:
    """Return the balanced accuracy, 0..1, on labeled cells of the target."""
    predicted = ensemble.predict_target(home.images).argmax(axis=1).astype(np.int64)
    return balanced_accuracy(home.labels, predicted, len(home.classes))


def held_out_predictions(
    fitted: FittedEnsemble,
    source: CellSet,
    labels: NDArray[np.int64],
    home: CellSet,
    config: EnsembleConfig,
    context: RunContext,
    folds: int,
) -> NDArray[np.int64]:
    """Return the class of each labeled cell that is predicted after fine-tuning on the labels of other folds.

    Args:
        fitted: see `fine_tune_in_rounds`, as all others.
        source: its cells of the fold take part without their labels, like all unlabeled cells.
        labels: int64[N], -1 for cells without a label.
        home: cells of the target.
        config: of the fine-tuning.
        context: its folder gets a folder for each fold.
        folds: at least 2.

    Returns:
        int64[N], -1 for cells without a label.
    """
    found = np.full(len(labels), UNKNOWN, np.int64)
    fold_of = folds_of(labels, folds, context.seed)
    for fold in range(folds):
        rows = np.flatnonzero(fold_of == fold)
        others = labels.copy()
        others[rows] = UNKNOWN
        own = context.within(f"fold-{fold}", f"cross-validation {fold + 1} of {folds}")
        tuned = fine_tune_in_rounds(fitted, source, others, home, config, own)
        found[rows] = tuned.ensemble.predict(source.images[rows]).argmax(axis=1)
    return found


def folds_of(labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal the labeled cells, class after class, to folds of equal size; return int64[N], -1 without a label."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero(labels >= 0))
    order = order[np.argsort(labels[order], kind="stable")]
    found = np.full(len(labels), UNKNOWN, np.int64)
    found[order] = np.arange(len(order)) % folds
    return found
