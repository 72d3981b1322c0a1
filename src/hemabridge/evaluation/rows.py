"""The rows of a study from its predictions: pure functions, without files and PyTorch."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from hemabridge.evaluation.comparisons import ORIGINAL, Comparison, compare, count_changed, pairs_with_originals
from hemabridge.evaluation.predictions import Predictions
from hemabridge.evaluation.results import Confusion, Mode, PairedTest, Row
from hemabridge.metrics.classification import accuracy, balanced_accuracy, confusion_counts, recall_per_class
from hemabridge.metrics.statistics import wilson_interval

__all__ = [
    "ORIGINAL",
    "as_paired_test",
    "count_changed",
    "make_confusion",
    "make_row",
    "paired_tests",
    "work_out_mode",
]


def work_out_mode(scored_hashes: Collection[str], seen_hashes: Collection[str] | None) -> Mode:
    """Return whether scored images were among those that a re-staining was fitted on, by file hashes.

    Args:
        scored_hashes: SHA-256 of every scored file.
        seen_hashes: SHA-256 of every file that was used for the fit; None if there was none.

    Returns:
        `none` without a fit, `strict` if no scored file was used for it, `transductive` if at least one was.

    Raises:
        ValueError: a hash is empty.
    """
    if seen_hashes is None:
        return "none"
    if "" in scored_hashes or "" in seen_hashes:
        raise ValueError("expected the SHA-256 of every file, got an empty one; index the folder again")
    return "strict" if set(scored_hashes).isdisjoint(seen_hashes) else "transductive"


def make_row(predictions: Predictions, classes: Sequence[str], *, mode: Mode, seed: int) -> Row:
    """Score one run: accuracy with its 95% Wilson interval, balanced accuracy, recall of each class.

    Raises:
        ValueError: there is no cell, or the number of classes differs from that of the predictions.
    """
    _check_classes(predictions, classes)
    truth, predicted = predictions.truth, predictions.predicted
    return Row(
        site=predictions.site,
        part=predictions.part,
        classifier=predictions.classifier,
        images=predictions.images,
        snapshot=predictions.snapshot,
        labels_used=predictions.labels_used,
        n=len(truth),
        accuracy=accuracy(truth, predicted),
        balanced_accuracy=balanced_accuracy(truth, predicted, len(classes)),
        recall=recall_per_class(truth, predicted, classes),
        interval=wilson_interval(int(np.sum(truth == predicted)), len(truth)),
        mode=mode,
        seed=seed,
    )


def make_confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Count true against predicted classes of one run.

    Raises:
        ValueError: the number of classes differs from that of the predictions.
    """
    _check_classes(predictions, classes)
    counts = confusion_counts(predictions.truth, predictions.predicted, len(classes))
    return Confusion(
        site=predictions.site,
        classifier=predictions.classifier,
        images=predictions.images,
        snapshot=predictions.snapshot,
        labels_used=predictions.labels_used,
        classes=tuple(classes),
        counts=tuple(tuple(int(count) for count in row) for row in counts),
    )


def paired_tests(predictions: Iterable[Predictions]) -> tuple[PairedTest, ...]:
    """Test every run on re-stained images against the same classifier on the originals of the same cells.

    The same classifier has the same name and the same number of labels of the site. Holm's correction is over all tests
    of one call, so give all runs of a study at once.

    Args:
        predictions: runs of one part of the split; cells are matched by id, in any order.

    Raises:
        ValueError: there are several parts, a repeated run, re-stained images without originals, or different cells.
    """
    return tuple(as_paired_test(found) for found in compare(pairs_with_originals(list(predictions))))


def as_paired_test(found: Comparison) -> PairedTest:
    """Return the comparison of a run with its originals in the form of the results."""
    run = found.run
    return PairedTest(
        site=run.site,
        classifier=run.classifier,
        images=run.images,
        snapshot=run.snapshot,
        labels_used=run.labels_used,
        rescued=found.rescued,
        broken=found.broken,
        p=found.p,
        p_holm=found.p_holm,
    )


def _check_classes(predictions: Predictions, classes: Sequence[str]) -> None:
    if predictions.probabilities.shape[1] != len(classes):
        raise ValueError(
            f"expected {len(classes)} classes in {predictions.run}, got {predictions.probabilities.shape[1]}"
        )
