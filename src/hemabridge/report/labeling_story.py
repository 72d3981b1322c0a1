"""The results of an expert's labels as sentences for the report."""

from collections.abc import Iterator

from hemabridge.evaluation.label_results import ClassifierSummary, LabelResults, SiteSummary
from hemabridge.report.story import percent


def headline(results: LabelResults) -> str:
    """Return the answer in one line."""
    count, (before, held_out) = len(results.used_cells), results.right
    if not results.used:
        return f"{count} labels are not used, since they would lower the accuracy. The predictions are those without."
    told = (
        f"Of {count} labeled cells, {before} were predicted right without labels, and {held_out} from the labels of "
        "the other cells."
    )
    return told if held_out > before else f"{told} So the labels do no harm; what they add elsewhere is not known."


def sentences(results: LabelResults) -> Iterator[str]:
    """Yield the measures: on the labels, in the folder, and of the classifier."""
    if results.used:
        total = _total(results.after)
        yield f"The predicted class of {_cells(results.changed)} of {total} in {results.folder} changed."
    else:
        before, held_out = results.right
        yield (
            f"From the labels of the other cells {held_out} of {len(results.used_cells)} labeled cells are predicted "
            f"right, and without labels {before}. More labels, or a check of these, may help."
        )
    yield (
        "The labeled cells were chosen as the most uncertain ones, and unlike each other. The share of right answers "
        "in the whole folder is higher than among them, and what labels do to cells like them is not seen among them."
    )
    strange = len(results.cells) - len(results.used_cells)
    if strange:
        yield f"{_cells(strange)} with a label that is no class of the run: kept, and nothing learned from them."
    if results.used:
        yield _of_classifier(results.classifier)
    if results.agreement is not None:
        agreement = percent(results.agreement)
        yield f"Without labels, members that see color and members that see shape agree to {agreement}."
    yield (
        f"Mean confidence: {percent(results.before.confidence)} before, {percent(results.after.confidence)} after. If "
        f"these probabilities are right, {results.before.expected_errors:.0f} of {_total(results.before)} predictions "
        f"were wrong before, and {results.after.expected_errors:.0f} are now."
    )


def following(results: LabelResults) -> str:
    """Return what the same number of further labels would add."""
    count = len(results.following)
    if not count:
        return "Every cell of the folder has a label."
    expected = sum(1 - cell.probability for cell in results.following)
    uncertain = f"Of the next {_cells(count)}, {expected:.1f} are expected to be predicted wrong."
    gain = results.next_gain
    if gain is None:
        return f"{uncertain} How much their labels would add cannot be estimated from the labels that there are."
    return (
        f"{uncertain} If their labels correct as large a share of the remaining errors as the first ones did, they add "
        f"about {100 * gain:.1f} points of accuracy in the whole folder. This is a rough estimate: it rests on "
        f"{_labels(len(results.used_cells))}."
    )


def _of_classifier(classifier: ClassifierSummary | None) -> str:
    if classifier is None:
        return "No classifier was trained: none of the color members was trained by hemabridge."
    home = (
        f"balanced accuracy {percent(classifier.home_before)} before, {percent(classifier.home_after)} after, on "
        f"{_cells(classifier.home_cells)} of the run's own hospital (part {classifier.home_part})"
    )
    if not classifier.is_kept:
        return (
            "The classifier that learned the labels was not kept, since it costs the run's own hospital more than one "
            f"point: {home}. The table of classes does not depend on it."
        )
    return (
        f"One classifier for daily use learned the labels: {home}. It predicts the class of the table for "
        f"{percent(classifier.same_class)} of the cells."
    )


def _total(summary: SiteSummary) -> int:
    return sum(summary.counts.values())


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count} labels"
