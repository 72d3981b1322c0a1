"""The results of a study as sentences for its report."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from hemabridge.evaluation.results import PairedTest, Row
from hemabridge.metrics.statistics import smallest_detectable_difference
from hemabridge.report.layout import ORIGINAL, Layout
from hemabridge.sampling import evenly_spaced

LEVEL = 0.05
"""A difference with a smaller Holm-corrected p counts as shown."""

T = TypeVar("T")

Verdict: TypeAlias = Literal["helped", "harmed", "may be chance"]

MODES = {
    "strict": "Strict: the translator had never seen any of the scored images, labeled or not, so the numbers are "
    "what to expect of new cells from the same hospital.",
    "transductive": "Transductive: the translator had seen scored images, without their labels, before they were "
    "scored, as in the paper; on cells that it has never seen the numbers may be lower.",
    "none": "No translator was involved.",
}
"""What `mode` means, one sentence each."""


def verdict(test: PairedTest) -> Verdict:
    """Return the effect of one re-staining by a paired test."""
    if test.p_holm >= LEVEL or test.rescued == test.broken:
        return "may be chance"
    return "helped" if test.rescued > test.broken else "harmed"


def headline(tests: Sequence[PairedTest]) -> str:
    """Return the answer of all label-free paired tests in one line."""
    found = [verdict(test) for test in tests]
    helped, harmed = found.count("helped"), found.count("harmed")
    if not found:
        return "Whether re-staining helps was not tested cell by cell."
    if helped and harmed:
        return f"Re-staining helped in {helped} and did harm in {harmed} of {len(found)} comparisons."
    if helped:
        return f"Re-staining helped in {helped} of {_comparisons(len(found))}."
    if harmed:
        return f"Re-staining did harm in {harmed} of {_comparisons(len(found))}."
    return f"Re-staining showed no clear effect in {_comparisons(len(found))}."


def labels_beside(layout: Layout) -> str | None:
    """Return whether fine-tuning on the most labels beat the best label-free re-staining; None without labels."""
    most, pairs = layout.most_labels, []
    for name in layout.classifiers:
        fine_tuned = layout.row(name, (ORIGINAL, None), most) if most else None
        free = [row for row in layout.rows(0) if row.classifier == name and row.images != ORIGINAL]
        if fine_tuned is not None and free:
            pairs.append((fine_tuned.accuracy, max(row.accuracy for row in free)))
    if not pairs:
        return None
    better = sum(with_labels > without for with_labels, without in pairs)
    return (
        f"Fine-tuned on {most} labeled cells of {layout.source} instead, {better} of {_classifiers_of(len(pairs))} "
        "classified more cells correctly than with the best re-staining without a label."
    )


def answer(layout: Layout) -> tuple[str, str, str]:
    """Return the three sentences that the report begins with."""
    originals, restained = split_by_images(layout.rows(0))
    target = " and ".join(layout.targets) or "another site"
    first = (
        f"{_classifiers(len(layout.classifiers))} that learned on images of {target} classified "
        f"{accuracies(originals)} of the {cells(originals or restained)} of {layout.source} correctly "
        "on the original images."
    )
    translated, normalized = split_by_snapshot(restained)
    second = (
        f"On the same cells re-stained, without using a single label of {layout.source}, "
        f"{'they' if len(layout.classifiers) > 1 else 'it'} classified {accuracies(translated or normalized)} correctly"
    )
    if translated and normalized:
        second += f" ({accuracies(normalized)} after other re-stainings in place of the translator)"
    with_labels, _ = split_by_images(layout.rows(layout.most_labels)) if layout.labels else ([], [])
    if with_labels:
        most = layout.most_labels
        second += f"; after fine-tuning on {most} labeled original cells instead, {accuracies(with_labels)}"
    return first, f"{second}.", _paired_sentence(label_free_tests(layout))


def label_free_tests(layout: Layout) -> list[PairedTest]:
    """Return the paired tests of classifiers that were given no label of the source site."""
    return [
        test
        for test in layout.results.paired
        if test.site == layout.source and test.labels_used == 0 and test.classifier in layout.classifiers
    ]


def split_by_images(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of original images, and those of re-stained ones."""
    rows = list(rows)
    return [row for row in rows if row.images == ORIGINAL], [row for row in rows if row.images != ORIGINAL]


def split_by_snapshot(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of the study's own translator, which have a snapshot, and those of other re-stainings."""
    rows = list(rows)
    return [row for row in rows if row.snapshot is not None], [row for row in rows if row.snapshot is None]


def accuracies(rows: Sequence[Row], *, balanced: bool = False) -> str:
    """Return the lowest and the highest accuracy of some rows, as in `28.3% to 45.7%`."""
    values = [row.balanced_accuracy if balanced else row.accuracy for row in rows]
    if not values:
        return "not measured"
    low, high = percent(min(values)), percent(max(values))
    return low if low == high else f"{low} to {high}"


def cells(rows: Sequence[Row]) -> str:
    """Return how many cells each row scored, as in `92 cells`."""
    counts = sorted({row.n for row in rows})
    return " or ".join(map(str, counts)) + (" cell" if counts == [1] else " cells")


def carries(rows: Sequence[Row], interval: str = "brackets: 95% Wilson interval") -> str:
    """Return the end of a table's caption: n, the kind of interval, the mode of the re-stained rows, the seed.

    Args:
        rows: the rows of the table.
        interval: how the interval is shown, or why there is none.
    """
    modes = sorted({row.mode for row in rows} - {"none"})
    mode = f"mode {' and '.join(modes)}" if modes else "no translator involved"
    seeds = ", ".join(str(seed) for seed in sorted({row.seed for row in rows}))
    return f"n\u00a0=\u00a0{cells(rows)}; {interval}; {mode}; seed {seeds}."


def mode_sentences(layout: Layout) -> list[str]:
    """Return one sentence for each mode of the re-stained rows."""
    _, restained = split_by_images(layout.results.rows)
    return [MODES[mode] for mode in sorted({row.mode for row in restained})]


def caution(layout: Layout) -> str:
    """Return the smallest difference that a sample of this size can show."""
    n = min(row.n for labels in (0, *layout.labels) for row in layout.rows(labels))
    points = smallest_detectable_difference(n)
    if points is None:
        return f"n = {n}: too few cells to tell any two unpaired results apart."
    paired = _smallest_paired(layout)
    smaller = (
        "only the paired tests can show smaller ones."
        if paired is None
        else f"paired with the originals of the same cells, a difference of about {paired} points would be shown four "
        "times in five, at the disagreement seen here."
    )
    return (
        f"n = {n}: unpaired differences under about {100 * points:.0f} percentage points cannot be told apart "
        f"(two-sided 5% level, 80% power, worst case); {smaller}"
    )


def _smallest_paired(layout: Layout) -> str | None:
    """Return the smallest differences that the label-free paired tests can show, as in `9 to 14`."""
    found = [s.against.smallest_difference for s in layout.results.leaderboard if s.against and s.labels_used == 0]
    known = [round(100 * difference) for difference in found if difference is not None]
    if not known:
        return None
    return str(min(known)) if min(known) == max(known) else f"{min(known)} to {max(known)}"


def limits(layout: Layout) -> list[str]:
    """Return what the numbers do not show."""
    restained = len([column for column in layout.columns if column[0] != ORIGINAL])
    seeds = {row.seed for row in layout.results.rows}
    seeds |= {seed for s in layout.results.leaderboard if s.spread is not None for seed in s.spread.seeds}
    listed = [
        f"All {restained} re-stainings were scored on the same test cells. The best of them is partly luck: choose by "
        "something else than this table.",
        _independence(layout),
        f"{len(seeds)} random start{'s were' if len(seeds) > 1 else ' was'} run. Another start gives other numbers.",
        f"The results hold for {layout.source}, for these classes and for the time at which its images were taken.",
        "A classifier that classifies more cells correctly does not prove that re-staining left every cell's shape "
        "unchanged; look at the cells.",
    ]
    if layout.results.closeness:
        listed.append("The sites are simulated. Closeness to a ground truth cannot be measured on real ones.")
    return listed


def _independence(layout: Layout) -> str:
    if any(entry.unit == "patient" for entry in layout.results.leaderboard):
        return (
            "Wilson intervals and McNemar's test treat cells as independent, which cells of one patient are not; the "
            "leaderboard's other intervals draw whole patients."
        )
    return (
        "Intervals treat cells as independent. Cells of one patient or one slide are not; where the manifests name no "
        "patients, the true uncertainty is larger, and cells of one patient may lie on both sides of the split."
    )


def spread(pictures: Sequence[T], count: int) -> list[T]:
    """Return `count` pictures (all, if there are fewer), evenly spread over a sequence."""
    return [pictures[place] for place in evenly_spaced(len(pictures), count)]


def percent(value: float) -> str:
    """Return a fraction 0..1 as a percentage with one decimal."""
    return f"{100 * value:.1f}%"


def p_text(p: float) -> str:
    """Return a p value with three decimals, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def fact_text(value: Any) -> str:
    """Return the value of a fact as text: lists and tables on one line, None as `not known`."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {fact_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(fact_text(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _paired_sentence(tests: Sequence[PairedTest]) -> str:
    if not tests:
        return "Originals and re-stained images were not compared cell by cell."
    found = [verdict(test) for test in tests]
    return (
        f"Compared cell by cell, re-staining helped in {found.count('helped')} of {_comparisons(len(found))} of one "
        f"classifier with one re-staining, harmed in {found.count('harmed')}, and in {found.count('may be chance')} "
        "the difference may be chance (exact McNemar test, Holm-corrected, 5% level)."
    )


def _classifiers(count: int) -> str:
    return "The classifier" if count == 1 else f"{count} classifiers"


def _classifiers_of(count: int) -> str:
    return "1 classifier" if count == 1 else f"{count} classifiers"


def _comparisons(count: int) -> str:
    return "1 comparison" if count == 1 else f"{count} comparisons"
