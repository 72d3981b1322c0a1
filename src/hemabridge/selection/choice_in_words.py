"""Plain sentences that explain the choice of a snapshot."""

from collections.abc import Sequence

from hemabridge.models.selection_file import SnapshotRow
from hemabridge.selection.rule import RuleConfig

_NO_TINT = "Re-stain with a normalizer."
_ELSE = (
    "Re-stain with a normalizer or a color translator, which can move nothing, or train again and keep earlier "
    "snapshots."
)


def why(
    chosen: SnapshotRow | None,
    alike: Sequence[str],
    rows: Sequence[SnapshotRow],
    rule: RuleConfig,
    *,
    by_shape: bool = False,
) -> str:
    """Return which snapshot was chosen, why and how surely; or that none can be used, and what to do.

    Args:
        chosen: the snapshot; None if the rule found none.
        alike: names of the snapshots that are not distinguishable from it with these cells.
        rows: all snapshots.
        rule: the constants of the choice.
        by_shape: whether disagreement is that with shape members, else that with the consensus of the snapshots.
    """
    if chosen is None:
        return _none(rows, rule)
    lost = [row.snapshot for row in rows if row.kept < rule.least_kept]
    tinted = [row.snapshot for row in rows if _tints(row, rule)]
    unread = [row.snapshot for row in rows if row.readers is not None and row.readers < rule.reader_floor]
    among = _among(rows, rule, lost=bool(lost), tinted=bool(tinted), unread=bool(unread))
    sentences = [
        f"{chosen.snapshot} is the best of {among} of which the "
        f"morphology guard refuses at most {rule.most_refused:.0%} of the cells (of this one {chosen.refused:.0%}): "
        f"{_nearest(chosen, rule, by_shape=by_shape)}.",
        f"It was chosen in {chosen.won:.0%} of the resamples.",
    ]
    if alike:
        sentences.append(f"These cells cannot tell it from {_listed(alike)}.")
    if chosen.stain >= 1:
        sentences.append("But it is no nearer to the target than the originals are: use another method.")
    if lost:
        sentences.append(f"Less than {rule.least_kept:.2f} of the structure is kept by {_listed(lost)}.")
    if tinted:
        sentences.append(
            f"Blotches of color on the empty glass of more than {rule.most_tinted:.0%} of the cells are drawn by "
            f"{_listed(tinted)}."
        )
    if unread:
        sentences.append(f"Readers refused {_listed(unread)}.")
    return " ".join(sentences)


def _among(rows: Sequence[SnapshotRow], rule: RuleConfig, *, lost: bool, tinted: bool, unread: bool) -> str:
    """Count the snapshots that could be chosen, and list what excluded others beside the guard."""
    fit = sum(row.fit for row in rows)
    told = f"the {fit} of {len(rows)} snapshots" if fit < len(rows) else f"all {fit} snapshots"
    if lost:
        told += f" that keep at least {rule.least_kept:.2f} of the structure,"
    if tinted:
        told += " that leave empty glass clean,"
    if unread:
        told += " that readers did not refuse,"
    return f"{told} and" if lost or tinted or unread else told


def _nearest(chosen: SnapshotRow, rule: RuleConfig, *, by_shape: bool) -> str:
    stain = f"its stain is {chosen.stain:.2f} times as far from the target's as the originals' is"
    if chosen.error is None and chosen.disagreement is not None:
        what = "shape members" if by_shape else "consensus of the best half of the snapshots"
        return (
            f"its predictions disagree least with the {what} ({chosen.disagreement:.2f}); {stain}, and it keeps "
            f"{chosen.kept:.2f} of the structure"
        )
    if chosen.error is not None:
        stain = f"the classifiers misclassify {chosen.error:.1%} of its labeled cells"
    near = f"of those that are as near (within {rule.stain_margin:.2f})"
    return f"{stain}, and {near} it keeps the most structure, {chosen.kept:.2f}"


def _none(rows: Sequence[SnapshotRow], rule: RuleConfig) -> str:
    best = min(rows, key=lambda row: (row.kept < rule.least_kept, row.refused))
    if best.kept < rule.least_kept:
        most = max(row.kept for row in rows)
        told = f"no snapshot keeps {rule.least_kept:.2f} of the structure; the most is {most:.2f}"
        return f"None can be used: {told}. {_ELSE}"
    shaped = [row for row in rows if row.kept >= rule.least_kept and row.refused <= rule.most_refused]
    if shaped and all(_tints(row, rule) for row in shaped):
        least = min(row.tinted or 0.0 for row in shaped)
        return (
            "None can be used: every snapshot whose cells the morphology guard lets pass draws blotches of color on "
            f"the empty glass of more than {rule.most_tinted:.0%} of the cells; the least is {least:.0%}. {_NO_TINT}"
        )
    if shaped:
        return "None can be used: readers refused every snapshot that all other limits let pass."
    return (
        f"None can be used: of every snapshot the morphology guard refuses more than {rule.most_refused:.0%} of the "
        f"cells; the least is {best.refused:.0%}, of {best.snapshot}. {_ELSE}"
    )


def _tints(row: SnapshotRow, rule: RuleConfig) -> bool:
    return (row.tinted or 0.0) > rule.most_tinted


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
