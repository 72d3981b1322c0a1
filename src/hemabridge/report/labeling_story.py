"""The results of fine-tuning on an expert's labels as sentences for its report."""

from collections.abc import Iterator

from hemabridge.evaluation.label_results import LabelResults, SiteSummary
from hemabridge.report.story import percent


def headline(results: LabelResults) -> str:
    """Return the answer in one line."""
    count, (before, held_out, _) = len(results.trained_on), results.right
    if not results.used:
        return f"{count} labels are not used, since they would lower the accuracy. The predictions are those without."
    if held_out is None:
        return f"The ensemble was fine-tuned on {count} labels. With so few, nobody can know whether it is better."
    return (
        f"Of {count} labeled cells, {before} were predicted right without labels, and {held_out} by members that "
        "learned from the other labels only."
    )


def sentences(results: LabelResults) -> Iterator[str]:
    """Yield the measures: on the labels, at the hospital of the study, and by agreement."""
    yield (
        _why_not_used(results)
        if not results.used
        else (
            f"The predicted class of {_cells(results.changed)} of {_total(results.after)} in {results.folder} changed."
        )
    )
    if results.folds:
        yield (
            "The labeled cells were chosen as the most uncertain ones, so that the share of right predictions in the "
            "whole folder is higher than among them."
        )
    strange = len(results.cells) - len(results.trained_on)
    if strange:
        yield f"{_cells(strange)} with a label that is no class of the study: kept, but not used for training."
    yield _home(results)
    if results.before.agreement is not None and results.after.agreement is not None:
        yield (
            f"Agreement of color and shape members: {percent(results.before.agreement)} before, "
            f"{percent(results.after.agreement)} after. Members that were fine-tuned on the same pseudo-labels agree "
            "more often even if they are wrong: read it beside the held-out labels."
        )
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
    doubtful = f"Of the next {_cells(count)}, {expected:.1f} are expected to be predicted wrong."
    gain = results.next_gain
    if gain is None:
        return f"{doubtful} How much their labels would add cannot be estimated from the labels that there are."
    return (
        f"{doubtful} If their labels correct as large a share of the remaining errors as the first ones did, they add "
        f"about {100 * gain:.1f} points of accuracy in the whole folder. This is a rough estimate: it rests on "
        f"{len(results.trained_on)} labels."
    )


def _why_not_used(results: LabelResults) -> str:
    before, held_out, _ = results.right
    if held_out is not None and held_out < before:
        return (
            f"Members that learned from the other labels predicted {held_out} of {len(results.trained_on)} labeled "
            f"cells right, and without labels {before}. More labels, or a check of these, may help."
        )
    return "Already the first round of fine-tuning cost the hospital of the study more than one point of accuracy."


def _home(results: LabelResults) -> str:
    first, last = results.home[0], results.home[-1]
    stopped = " Fine-tuning was stopped there, since it fell by more than one point after that." * results.stopped
    return (
        f"At the hospital of the study (part {results.home_part}): balanced accuracy {percent(first)} before, "
        f"{percent(last)} after.{stopped}"
    )


def _total(summary: SiteSummary) -> int:
    return sum(summary.counts.values())


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
