"""The choice in plain sentences."""

from collections.abc import Sequence

from hemabridge.selection.results import SnapshotRow
from hemabridge.selection.rule import RuleConfig


def why(chosen: SnapshotRow | None, alike: Sequence[str], rows: Sequence[SnapshotRow], rule: RuleConfig) -> str:
    """Say which snapshot was chosen, why, and how sure that is; or that none can be used, and what to do."""
    if chosen is None:
        return _none(rows, rule)
    fit = [row for row in rows if row.fit]
    among = f"the {len(fit)} of {len(rows)} snapshots" if len(fit) < len(rows) else f"all {len(rows)} snapshots"
    if chosen.error is None:
        nearest = f"stain is {chosen.stain:.2f} times as far from the target's as the originals' is"
    else:
        nearest = f"classifiers name {chosen.error:.1%} of the labelled cells wrongly"
    sentences = [
        f"{chosen.snapshot} is the best of {among} that keep at least {rule.floor:.2f} of the structure: "
        f"its {nearest}, and of those that are as near (within {rule.as_near:.2f}) it keeps the most, "
        f"{chosen.kept:.2f}.",
        f"It was chosen in {chosen.won:.0%} of the resamples.",
    ]
    if alike:
        sentences.append(f"These cells cannot tell it from {_listed(alike)}.")
    if chosen.stain >= 1:
        sentences.append("But it is no nearer to the target than the originals are: use another method.")
    refused = [row.snapshot for row in rows if row.readers is not None and row.readers < rule.reader_floor]
    if refused:
        sentences.append(f"Readers refused {_listed(refused)}.")
    return " ".join(sentences)


def _none(rows: Sequence[SnapshotRow], rule: RuleConfig) -> str:
    best = max(rows, key=lambda row: row.kept)
    if best.kept >= rule.floor:
        return f"None can be used: readers refused every snapshot that keeps {rule.floor:.2f} of the structure."
    return (
        f"None can be used: no snapshot keeps {rule.floor:.2f} of the structure; the most is {best.kept:.2f}, by "
        f"{best.snapshot}. Re-stain with a normalizer or a colour translator, which can move nothing, or train anew "
        "with earlier snapshots."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
