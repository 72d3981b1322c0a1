"""Leaderboard, contrasts of snapshots and saved labels of a study, as table rows and sentences for the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from hemabridge.evaluation.leaderboard_entries import Flips, LabelsSaved, LeaderboardEntry, SnapshotContrast
from hemabridge.evaluation.leaderboard_files import ranked
from hemabridge.evaluation.results import Row
from hemabridge.report.layout import ORIGINAL, Column, Layout, column_name
from hemabridge.report.story import LEVEL, percent

FIRST_LINES = 15
"""Lines of a leaderboard that are shown at once; the others are folded."""


@dataclass(frozen=True)
class Line:
    """A line of the leaderboard: its place, its row of the results, and its entry."""

    place: int
    row: Row
    entry: LeaderboardEntry


def board(layout: Layout, *, labels: bool) -> list[Line]:
    """Return the lines without labels, or those with, best balanced accuracy first."""
    found = [(row, s) for row, s in ranked(layout.results) if (row.labels_used > 0) == labels]
    return [Line(place, row, entry) for place, (row, entry) in enumerate(found, start=1)]


def best_sentence(layout: Layout) -> str | None:
    """Return the best label-free line on plain originals beside the best on re-stained images, if there are both."""
    lines = board(layout, labels=False)
    plain = next((line for line in lines if line.row.images == ORIGINAL), None)
    restained = next((line for line in lines if line.row.images != ORIGINAL), None)
    if plain is None or restained is None:
        return None
    return (
        f"Best balanced accuracy on original images: {percent(plain.row.balanced_accuracy)} "
        f"({plain.row.classifier}); on re-stained ones: {percent(restained.row.balanced_accuracy)} "
        f"({restained.row.classifier}, {column_name((restained.row.images, restained.row.snapshot))})."
    )


def points(value: float) -> str:
    """Return a difference of fractions in percentage points with its sign."""
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def flips_verdict(flips: Flips) -> str:
    """Return what a test of flips shows."""
    if flips.p_holm >= LEVEL or flips.towards == flips.away:
        return "may be chance"
    return f"towards {flips.majority}" if flips.towards > flips.away else f"away from {flips.majority}"


def flipped(layout: Layout) -> list[LeaderboardEntry]:
    """Return the entries whose flips were counted."""
    return [entry for entry in layout.results.leaderboard if entry.flips is not None]


def flips_sentence(layout: Layout) -> str:
    """Return in how many re-stainings cells drifted into the target's commonest class."""
    found = [s.flips for s in flipped(layout) if s.flips is not None]
    towards = [flips for flips in found if flips_verdict(flips).startswith("towards")]
    worst = max(found, key=lambda flips: flips.towards)
    return (
        f"Cells of other classes drifted into {found[0].majority}, the commonest class of the target's training cells, "
        f"beyond chance in {len(towards)} of {len(found)} label-free runs. At worst, {_cells(worst.towards)} of other "
        f"classes {'was' if worst.towards == 1 else 'were'} newly taken for it, {worst.broken} of them classified "
        "correctly before."
    )


def contrast_sentences(layout: Layout) -> list[str]:
    """Return, for each pair of neighboring snapshots, whether the label-free accuracies on them differ."""
    pairs = dict.fromkeys((c.images, c.first, c.second) for c in layout.results.contrasts if c.labels_used == 0)
    return [
        _contrast_sentence(
            [c for c in _plain(layout) if (c.images, c.first, c.second) == pair and not c.labels_used],
            tests=len(layout.results.contrasts),
        )
        for pair in pairs
    ]


def labels_saved_sentences(layout: Layout) -> list[str]:
    """Return how many labeled originals the last snapshot saves each classifier."""
    last = layout.last_column()
    return [
        _labels_saved_sentence(saved)
        for saved in layout.results.labels_saved
        if (saved.images, saved.snapshot) == last and saved.classifier in layout.classifiers
    ]


def fine_tuned(layout: Layout) -> list[tuple[str, list[Column]]]:
    """Return, for each classifier that was fine-tuned on several numbers of labels, the images that it was given."""
    found = [
        (name, [c for c in layout.columns if sum(layout.row(name, c, k) is not None for k in layout.labels) > 1])
        for name in layout.classifiers
    ]
    return [(name, columns) for name, columns in found if columns]


def _plain(layout: Layout) -> list[SnapshotContrast]:
    return [c for c in layout.results.contrasts if c.classifier in layout.classifiers]


def _contrast_sentence(contrasts: Sequence[SnapshotContrast], tests: int) -> str:
    """Return the sentence on one pair of snapshots.

    The verdict is that of the corrected test. The intervals are those of single comparisons, and the sentence says so.
    """
    first = column_name((contrasts[0].images, contrasts[0].first))
    second = column_name((contrasts[0].images, contrasts[0].second))
    many, apart = len(contrasts), [c for c in contrasts if c.p_holm < LEVEL]
    differences = sorted(c.difference for c in contrasts)
    span = points(differences[0])
    if differences[0] != differences[-1]:
        span += f" to {points(differences[-1])}"
    shown = [c.smallest_difference for c in contrasts if c.smallest_difference is not None]
    needed = f"; one comparison alone would show about {100 * min(shown):.0f} points" if shown else ""
    corrected = f", Holm-corrected over all {tests} comparisons of neighbors" if tests > 1 else ""
    alone = sum(c.p < LEVEL for c in contrasts)
    more = f" Taken alone, {alone} of {many} would differ." if alone > len(apart) else ""
    said = (
        f"are not told apart by {'any of ' if many > 1 else 'the '}{many if many > 1 else ''}"
        f"{' classifiers' if many > 1 else 'classifier'}"
        if not apart
        else f"differ under {len(apart)} of {many} classifier{'s' if many > 1 else ''}"
    )
    low, high = min(c.interval[0] for c in contrasts), max(c.interval[1] for c in contrasts)
    intervals = "The 95% bootstrap intervals of the single comparisons, not corrected for their number, lie within"
    if many == 1:
        intervals = "The 95% bootstrap interval" + (", not corrected, is" if tests > 1 else " is")
    return (
        f"{first} and {second} {said} (exact McNemar test{corrected}, 5% level): {span} percentage points of accuracy. "
        f"{intervals} {points(low)} to {points(high)} (n = {contrasts[0].n}, paired{needed}).{more}"
    )


def _labels_saved_sentence(saved: LabelsSaved) -> str:
    most = saved.curve[-1][0]
    low, high = (_count(end, most) for end in saved.interval)
    labels = _count(saved.labels, most)
    labels = f"about {labels}" if labels.isdigit() else labels
    interval = low if low == high else f"{low} to {high}"
    return (
        f"{saved.classifier}: {column_name((saved.images, saved.snapshot))} without a label classifies "
        f"{100 * saved.accuracy:.1f}% correctly, as much as fine-tuning on {labels} labeled originals "
        f"(95% interval: {interval})."
    )


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _count(labels: float | None, most: int) -> str:
    if labels is None:
        return f"more than {most}"
    return "fewer than 1" if labels < 0.5 else f"{labels:.0f}"
