"""Unblinding: results from the key and the verdicts. The readers' pages must not import it (import contract)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hemabridge.errors import RunError
from hemabridge.evaluation.reading import Acceptance, ArmScore, Reading
from hemabridge.metrics.resampling import DRAWS
from hemabridge.review.judgments import Judgment, Truth, join, readers_of
from hemabridge.review.pace import stretches, trends
from hemabridge.review.records import Item, Verdict
from hemabridge.review.reliability import agreements, disputes, repeats
from hemabridge.review.scores import ACCEPTED, ACCEPTED_GRADE, arm_scores, discrimination, preferences

_SNAPSHOT: Final = re.compile(r"(?:epoch|images)-[0-9]+")
"""Pattern of the name of an arm that is a translator's snapshot."""


@dataclass(frozen=True)
class Circumstances:
    """The state of a review when it is unblinded.

    Attributes:
        readers: all invited readers.
        open_sessions: readers who have begun and have screens left.
        despite: the reason to unblind in spite of open sessions.
        earlier: as in `Reading`.
    """

    readers: tuple[str, ...]
    open_sessions: tuple[str, ...] = ()
    despite: str | None = None
    earlier: tuple[str, ...] = ()

    def refuse_while_open(self) -> None:
        """Make sure that every reader who began has finished, or that a reason is given.

        Raises:
            RunError: a session is open and `despite` is empty.
        """
        if self.open_sessions and not (self.despite or "").strip():
            raise RunError(
                f"expected that every reader has finished, but these have begun and have screens left: "
                f"{', '.join(map(repr, self.open_sessions))}; wait for them, or give a reason with --despite, which is "
                "recorded and printed in the report"
            )


def unblind(
    name: str,
    items: Sequence[Item],
    verdicts: Sequence[Verdict],
    when: Circumstances,
    *,
    truth: Truth | None = None,
    facts: dict[str, Any] | None = None,
    draws: int = DRAWS,
) -> Reading:
    """Return the results of a review from the items of its key and the verdicts of its store.

    Raises:
        RunError: a session is open without a reason, a verdict does not fit the key, or there is none to count.
    """
    when.refuse_while_open()
    truth = truth or Truth()
    judgments = _joined(items, verdicts, truth)
    arms = tuple(dict.fromkeys(arm for item in items for arm in item.arms))
    readers, scores = readers_of(judgments), arm_scores(judgments, draws)
    return Reading(
        name=name,
        readers=readers,
        silent=tuple(sorted(set(when.readers) - set(readers))),
        open_sessions=when.open_sessions,
        despite=when.despite.strip() if when.open_sessions and when.despite else None,
        earlier=when.earlier,
        arms=arms,
        photographs=tuple(arm for arm in arms if arm in (truth.target, *truth.photographs)),
        agreement=agreements(judgments, draws),
        repeats=repeats(judgments, draws),
        scores=scores,
        discrimination=discrimination(judgments, draws),
        preferred=preferences(judgments, draws),
        stretches=stretches(judgments),
        trends=trends(judgments),
        disputes=disputes(judgments),
        acceptance=snapshot_acceptance(scores),
        facts={**(facts or {}), **_counts(items, judgments, draws)},
    )


def _joined(items: Sequence[Item], verdicts: Sequence[Verdict], truth: Truth) -> list[Judgment]:
    judgments = join(items, verdicts, truth)
    if not judgments:
        raise RunError("expected verdicts to unblind, got none outside of the practice round; let somebody read first")
    return judgments


def _counts(items: Sequence[Item], judgments: Sequence[Judgment], draws: int) -> dict[str, Any]:
    return {
        "items that count": sum(not item.practice for item in items),
        "of which repeats": sum(item.repeat_of is not None for item in items),
        "items with an answer": len({j.item.item for j in judgments}),
        "verdicts that count": len({(j.reader, j.item.item) for j in judgments}),
        "bootstrap draws, of whole cells": draws,
        "accepted is a stain of at least": ACCEPTED_GRADE,
    }


def snapshot_acceptance(scores: Sequence[ArmScore]) -> tuple[Acceptance, ...]:
    """Return the accepted share of each arm that is a translator's snapshot, for `hemabridge select`."""
    own = (score for score in scores if score.measure == ACCEPTED and score.reader is None)
    return tuple(Acceptance(score.arm, score.share) for score in own if _SNAPSHOT.fullmatch(score.arm))
