"""What readers said, once unblinded, as frozen data. JSON in and out, no PyTorch. Shares are 0..1, intervals 95%."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from hemabridge.storage.results_file import STRICT, ResultsFile

FILE = "unblinded.json"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval over cells; None where it is not defined, or its interval is not."""

    __pydantic_config__ = STRICT

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True)
class Agreement:
    """How far readers agree on one question, pictures shown for the first time.

    Attributes:
        aspect: the question; a fault of the stain is an aspect of its own, `stain_faults: nucleus`.
        readers: two of them, or all.
        n: pictures that at least two of these readers answered; `cells`: how many cells they show.
        observed: share of pairs of answers that are the same.
        cohen: Cohen's kappa; of more than two readers its mean over pairs (Light 1971, doi:10.1037/h0031643).
        weighted: the same with quadratic weights; None unless the answers are a scale.
        fleiss: Fleiss' kappa.
        ac1: Gwet's AC1.
    """

    __pydantic_config__ = STRICT

    aspect: str
    readers: tuple[str, ...]
    n: int
    cells: int
    observed: Estimate
    cohen: Estimate
    weighted: Estimate | None
    fleiss: Estimate
    ac1: Estimate


@dataclass(frozen=True)
class Repeats:
    """How far a reader agrees with themselves: first against second showing of `n` pictures; `reader` None: all.

    The numbers are as in `Agreement`; all readers' answers are put in one table.
    """

    __pydantic_config__ = STRICT

    aspect: str
    reader: str | None
    n: int
    cells: int
    observed: Estimate
    cohen: Estimate
    weighted: Estimate | None


@dataclass(frozen=True)
class ArmScore:
    """How one arm fared by one measure.

    Attributes:
        measure: see `hemabridge.review.scores.MEASURES`.
        arm: as the key names it.
        reader: None for all readers together.
        n: answers; `cells`: how many cells they are about.
        share: of the answers; for the measure `stain, mean` the mean grade, 1..5.
        interval: of one reader Wilson's, of all readers by bootstrap over cells; None for fewer than two cells.
        difference: from the originals' share, with its interval; None where originals were not asked about.
    """

    __pydantic_config__ = STRICT

    measure: str
    arm: str
    reader: str | None
    n: int
    cells: int
    share: float
    interval: Interval | None
    difference: Estimate | None = None


@dataclass(frozen=True)
class TellingApart:
    """Can readers tell an arm from photographs that need no re-staining?

    Attributes:
        aspect: `artificial` (signal: called artificial) or `laboratory` (signal: called of another laboratory).
        arm: the signals.
        reader: None for all readers together.
        hits, signals: of the arm; `false_alarms`, `noises`: of the photographs, of the target's for `laboratory`.
        d_prime: 0: not told apart (log-linear correction, Hautus 1995), with its bootstrap interval over cells.
        criterion: above 0: readers say "signal" too seldom.
    """

    __pydantic_config__ = STRICT

    aspect: str
    arm: str
    reader: str | None
    hits: int
    signals: int
    false_alarms: int
    noises: int
    d_prime: Estimate
    criterion: float


@dataclass(frozen=True)
class Preferred:
    """Two arms side by side: how often each was better; `share` of the first among answers that decide.

    `p`: exact sign test of the decided answers, one vote for each cell (ties left out), Holm-corrected in `p_holm`.
    """

    __pydantic_config__ = STRICT

    first: str
    second: str
    first_better: int
    second_better: int
    equal: int
    cells: int
    share: Estimate
    p: float
    p_holm: float


@dataclass(frozen=True)
class Stretch:
    """One part of a reader's session; `part` 1..`parts` in order, 0 for the whole session.

    Attributes:
        screens: how many were answered; repeats count, practice does not.
        seconds: quartiles of the time for one screen: lower, median, upper.
        right: answers to questions with a known truth that were right, of `asked`.
        accepted: answers on stain and morphology that accept, of `judged`.
    """

    __pydantic_config__ = STRICT

    reader: str
    part: int
    parts: int
    screens: int
    seconds: tuple[float, float, float]
    right: int
    asked: int
    accepted: int
    judged: int


@dataclass(frozen=True)
class Trend:
    """Kendall's tau-b between place in the session and `what`: `seconds`, `right` or `accepted`; p is two-sided."""

    __pydantic_config__ = STRICT

    reader: str
    what: str
    n: int
    tau: float | None
    p: float | None


@dataclass(frozen=True)
class Said:
    """One reader's answer in a dispute; `place` as shares of the picture from its top left corner."""

    __pydantic_config__ = STRICT

    reader: str
    answer: str
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dispute:
    """A picture that readers disagreed on.

    Attributes:
        aspect: the question.
        shown: opaque id of the screen.
        arms: from left to right.
        cell, cell_type, site: as in the key.
        answers: in the order of readers.
        disagreement: share of pairs of answers that differ; on a scale the mean squared distance of pairs over the
            largest there can be.
    """

    __pydantic_config__ = STRICT

    aspect: str
    shown: str
    arms: tuple[str, ...]
    cell: str
    cell_type: str
    site: str
    answers: tuple[Said, ...]
    disagreement: float


@dataclass(frozen=True)
class Acceptance:
    """What `hemabridge select --readers` reads: the share of cells of a snapshot that readers accepted."""

    __pydantic_config__ = STRICT
    snapshot: str
    accepted: float


@dataclass(frozen=True)
class Reading(ResultsFile):
    """All that a review found.

    Attributes:
        name: of the review.
        readers: who answered at least one item.
        silent: readers who never answered.
        open_sessions: readers who had not finished; `despite`: why it was unblinded all the same.
        earlier: who had not finished at earlier unblindings, and why it was done; verdicts since may not be blind.
        arms: all that were shown; `photographs` are those that a camera made.
        facts: counts, versions, what the numbers rest on.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = FILE
    FORMAT: ClassVar[int] = 2
    AGAIN: ClassVar[str] = "unblind again"

    name: str
    readers: tuple[str, ...]
    silent: tuple[str, ...]
    open_sessions: tuple[str, ...]
    despite: str | None
    earlier: tuple[str, ...]
    arms: tuple[str, ...]
    photographs: tuple[str, ...]
    agreement: tuple[Agreement, ...]
    repeats: tuple[Repeats, ...]
    scores: tuple[ArmScore, ...]
    discrimination: tuple[TellingApart, ...]
    preferred: tuple[Preferred, ...]
    stretches: tuple[Stretch, ...]
    trends: tuple[Trend, ...]
    disputes: tuple[Dispute, ...]
    acceptance: tuple[Acceptance, ...]
    facts: dict[str, Any] = field(default_factory=dict)
