"""The verdicts of the morphology guard on a study's re-stainings, as table rows and sentences for the report."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hemabridge.evaluation.results import MorphologyCheck
from hemabridge.metrics.statistics import wilson_interval
from hemabridge.report.layout import ORIGINAL, Column, Layout, column_name
from hemabridge.report.story import percent

WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "nucleus_dice": "outline of the nucleus",
        "nucleus_area_change": "size of the nucleus",
        "nucleus_share_change": "nucleus as a share of the cell",
        "lobe_change": "lobes of the nucleus",
        "edge_displacement": "edges moved",
        "structure_ssim": "pattern of light and dark",
        "residual": "more than a change of color",
        "granule_change": "spots new or gone",
        "glass_tint": "blotches on empty glass",
    }
)
"""Name of every measure of the guard in the report."""


def in_words(reason: str) -> str:
    """Return the name of a measure in the report; an unknown measure keeps its own."""
    return WORDS.get(reason, reason)


def column_of(check: MorphologyCheck) -> Column:
    """Return the column of the tables that was checked."""
    return check.images, check.snapshot


def refused_share(check: MorphologyCheck) -> str:
    """Return the share of refused cells and its 95% Wilson interval."""
    low, high = wilson_interval(check.refused, check.n)
    return f"{percent(check.refused / check.n)} [{percent(low)}, {percent(high)}]"


def tested_snapshots(layout: Layout) -> list[MorphologyCheck]:
    """Return the checks of the translator's tested snapshots, in the order of the results."""
    return [check for check in layout.results.guard if check.snapshot is not None]


def sentence(layout: Layout) -> str:
    """Return how many re-stainings had cells refused, and which had the most."""
    checks = layout.results.guard
    some = [check for check in checks if check.refused]
    many = "The one re-staining" if len(checks) == 1 else f"All {len(checks)} re-stainings"
    if not some:
        return f"{many} passed: of no cell did more than color change beyond the limits."
    worst = max(some, key=lambda check: check.refused / check.n)
    where = "the re-staining" if len(checks) == 1 else f"{len(some)} of {len(checks)} re-stainings"
    return (
        f"In {where}, cells were refused: more than their colors changed. The most by "
        f"{column_name(column_of(worst))}: {worst.refused} of {worst.n} cells."
    )


def limits_sentence(layout: Layout) -> str:
    """Return from which cells the limits are learned."""
    counts = sorted({check.limits_from for check in layout.results.guard})
    if counts == [0]:
        return (
            "The target has too few held-out cells to learn limits from. The strictest limits were used: they may "
            "refuse cells that a re-staining only blurs a little."
        )
    return (
        f"The limits of each re-staining are learned from what it does to {' or '.join(map(str, counts))} held-out "
        "cells of the target, which need no re-staining."
    )


def first_page(layout: Layout) -> str | None:
    """Return how many cells of the best re-staining were refused; None if none were, or nothing was checked.

    The best has the highest balanced accuracy of any classifier without labels, among those that were checked.
    """
    checked = {column_of(check): check for check in layout.results.guard}
    rows = [row for row in layout.rows(0) if row.images != ORIGINAL and (row.images, row.snapshot) in checked]
    if not rows:
        return None
    best = max(rows, key=lambda row: row.balanced_accuracy)
    check = checked[best.images, best.snapshot]
    if not check.refused:
        return None
    many = (
        f"The morphology guard refuses {check.refused} of the {check.n} cells that the best re-staining made "
        f"({column_name(column_of(check))}, by balanced accuracy)"
    )
    if not check.limits_from:
        return (
            f"{many}, by the strictest limits, which even harmless blur exceeds: the target has too few held-out cells "
            "to learn others from. Look at the cells."
        )
    return f"{many}: there, more than colors changed. Do not trust those cells."
