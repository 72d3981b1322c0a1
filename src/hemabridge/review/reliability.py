"""Inter-reader and intra-reader agreement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hemabridge.evaluation.reading import Agreement, Dispute, Estimate, Repeats, Said
from hemabridge.metrics.reader_statistics import (
    answer_counts,
    answer_shares,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    pair_agreement,
)
from hemabridge.metrics.resampling import DRAWS
from hemabridge.review.bootstrap import draw_sums, estimate, estimate_share, interval_of, ratio
from hemabridge.review.judgments import (
    Judgment,
    by_aspect,
    categories_of,
    category,
    first_showings,
    readers_of,
)
from hemabridge.review.records import Question

Floats = NDArray[np.float64]
MISSING = -1


@dataclass(frozen=True, eq=False)
class Grid:
    """The answers to one aspect: `answers` int64[N, R], index of a category or `MISSING`.

    Attributes:
        aspect: of the question.
        categories: the possible answers.
        readers: of the columns.
        items: of the rows, first showings only; `cells` are the cells of the items.
    """

    aspect: str
    categories: tuple[str, ...]
    readers: tuple[str, ...]
    items: tuple[str, ...]
    cells: tuple[str, ...]
    answers: NDArray[np.int64]

    @property
    def is_scale(self) -> bool:
        """Whether the categories are ordered grades."""
        return self.aspect == Question.STAIN

    def of(self, readers: Sequence[str]) -> "Grid":
        """Return the grid of some readers, with the rows that at least two of them answered."""
        columns = [self.readers.index(reader) for reader in readers]
        answers = self.answers[:, columns]
        rows = np.flatnonzero((answers != MISSING).sum(axis=1) > 1)
        return Grid(
            self.aspect,
            self.categories,
            tuple(readers),
            tuple(self.items[row] for row in rows),
            tuple(self.cells[row] for row in rows),
            answers[rows],
        )


def lay_grid(aspect: str, judgments: Sequence[Judgment]) -> Grid:
    """Return the answers to one aspect as a grid, first showings only."""
    first = first_showings(judgments)
    categories, readers = categories_of(aspect, judgments), readers_of(first)
    items = list(dict.fromkeys(j.item for j in sorted(first, key=lambda j: j.item.item)))
    rows = {item.item: row for row, item in enumerate(items)}
    answers = np.full((len(items), len(readers)), MISSING, dtype=np.int64)
    for judgment in first:
        place = rows[judgment.item.item], readers.index(judgment.reader)
        answers[place] = categories.index(category(judgment))
    return Grid(aspect, categories, readers, tuple(i.item for i in items), tuple(i.cell for i in items), answers)


def agreements(judgments: Sequence[Judgment], draws: int = DRAWS) -> tuple[Agreement, ...]:
    """Return agreement for each aspect: of each pair of readers, then of all if there are more than two.

    Pairs of readers without a common picture are omitted.
    """
    found = []
    for aspect, own in by_aspect(judgments).items():
        grid = lay_grid(aspect, own)
        groups: list[tuple[str, ...]] = list(combinations(grid.readers, 2))
        if len(grid.readers) > 2:
            groups.append(grid.readers)
        shared = (grid.of(group) for group in groups)
        found += [_agreement(part, draws) for part in shared if part.items]
    return tuple(found)


def repeats(judgments: Sequence[Judgment], draws: int = DRAWS) -> tuple[Repeats, ...]:
    """Return the agreement of repeats with first showings, of each reader and of all, for each aspect with repeats."""
    found = []
    for aspect, own in by_aspect(judgments).items():
        by_item = {(j.reader, j.item.item): j for j in own}
        pairs = [
            (by_item[j.reader, j.item.repeat_of], j)
            for j in own
            if j.item.repeat_of is not None and (j.reader, j.item.repeat_of) in by_item
        ]
        categories = categories_of(aspect, own)
        for reader in (*readers_of(j for _, j in pairs), None):
            mine = [pair for pair in pairs if reader in (None, pair[1].reader)]
            if mine:
                found.append(_repeats(aspect, reader, mine, categories, draws))
    return tuple(found)


def disputes(judgments: Sequence[Judgment]) -> tuple[Dispute, ...]:
    """Return the pictures on which at least two readers disagree, the worst first, aspect by aspect."""
    found = []
    for aspect, own in by_aspect(judgments).items():
        grid = lay_grid(aspect, own)
        by_item: dict[str, list[Judgment]] = {}
        for judgment in first_showings(own):
            by_item.setdefault(judgment.item.item, []).append(judgment)
        apart = _disagreement(grid)
        for row in sorted(np.flatnonzero(apart > 0), key=lambda row: (-apart[row], grid.items[row])):
            said = sorted(by_item[grid.items[row]], key=lambda j: j.reader)
            item = said[0].item
            found.append(
                Dispute(
                    aspect=aspect,
                    shown=item.shown,
                    arms=item.arms,
                    cell=item.cell,
                    cell_type=item.cell_type,
                    site=item.site,
                    answers=tuple(Said(j.reader, j.answer, j.verdict.place) for j in said),
                    disagreement=float(apart[row]),
                )
            )
    return tuple(found)


def _agreement(grid: Grid, draws: int) -> Agreement:
    counts = answer_counts(grid.answers, len(grid.categories))
    # Sums of: pictures, agreement, shares of answers. Each picture here has at least two answers.
    columns = np.column_stack([np.ones(len(counts)), pair_agreement(counts), answer_shares(counts)])

    def by(formula: Callable[[Floats, Floats], Floats]) -> Callable[[Floats], Floats]:
        return lambda sums: formula(ratio(sums[..., 1], sums[..., 0]), ratio(sums[..., 2:], sums[..., :1]))

    observed, fleiss, ac1 = estimate(
        columns, grid.cells, [by(lambda same, _: same), by(fleiss_kappa), by(gwet_ac1)], draws
    )
    if observed.value in (0.0, 1.0):
        observed = estimate_share([observed.value == 1.0] * len(counts), grid.cells, draws)
    return Agreement(
        aspect=grid.aspect,
        readers=grid.readers,
        n=len(grid.items),
        cells=len(set(grid.cells)),
        observed=observed,
        cohen=_light(grid, draws, quadratic=False),
        weighted=_light(grid, draws, quadratic=True) if grid.is_scale else None,
        fleiss=fleiss,
        ac1=ac1,
    )


def _light(grid: Grid, draws: int, *, quadratic: bool) -> Estimate:
    """Return the mean of Cohen's kappa over pairs of readers (Light 1971); pairs with undefined kappa are omitted."""
    values, drawn = [], []
    for one, other in combinations(range(len(grid.readers)), 2):
        both = (grid.answers[:, [one, other]] != MISSING).all(axis=1)
        tables = _tables(grid.answers[both, one], grid.answers[both, other], len(grid.categories))
        whole = np.zeros((len(both), tables.shape[1]))
        whole[both] = tables
        values.append(_kappa(tables.sum(axis=0), quadratic))
        summed = draw_sums(whole, grid.cells, draws)
        if summed is not None:
            drawn.append(_kappa(summed, quadratic))
    value = float(_mean_of_defined(np.array(values)))
    if not np.isfinite(value):
        return Estimate(None)
    return Estimate(value, interval_of(_mean_of_defined(np.array(drawn))) if drawn else None)


def _mean_of_defined(values: Floats) -> Floats:
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _repeats(
    aspect: str,
    reader: str | None,
    pairs: Sequence[tuple[Judgment, Judgment]],
    categories: tuple[str, ...],
    draws: int,
) -> Repeats:
    first, again = (
        np.array([categories.index(category(pair[side])) for pair in pairs], dtype=np.int64) for side in (0, 1)
    )
    cells = [j.item.cell for _, j in pairs]
    tables = _tables(first, again, len(categories))
    cohen, weighted = estimate(
        tables, cells, [lambda sums: _kappa(sums, quadratic=False), lambda sums: _kappa(sums, quadratic=True)], draws
    )
    return Repeats(
        aspect=aspect,
        reader=reader,
        n=len(pairs),
        cells=len(set(cells)),
        observed=estimate_share(list(first == again), cells, draws),
        cohen=cohen,
        weighted=weighted if aspect == Question.STAIN else None,
    )


def _tables(first: NDArray[np.int64], second: NDArray[np.int64], categories: int) -> Floats:
    """Return each pair of answers as a flattened table with a single 1: float64[N, K * K]."""
    found = np.zeros((len(first), categories**2))
    found[np.arange(len(first)), first * categories + second] = 1
    return found


def _kappa(sums: Floats, quadratic: bool) -> Floats:
    side = round(sums.shape[-1] ** 0.5)
    return cohen_kappa(sums.reshape(*sums.shape[:-1], side, side), quadratic=quadratic)


def _disagreement(grid: Grid) -> Floats:
    """Return the disagreement of readers on each picture, float64[N], 0..1; 0 if fewer than two answered."""
    counts = answer_counts(grid.answers, len(grid.categories))
    if not grid.is_scale:
        return np.asarray(1 - np.nan_to_num(pair_agreement(counts), nan=1.0))
    steps = np.arange(len(grid.categories), dtype=np.float64)
    readers = counts.sum(axis=1)
    spread = counts @ steps**2 * readers - (counts @ steps) ** 2
    return np.asarray(np.nan_to_num(ratio(2 * spread, readers * (readers - 1)) / steps[-1] ** 2))
