"""The results of an unblinded reading, as frozen data. Shares are 0..1, intervals 95%. Needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from hemabridge.storage.results_file import STRICT, ResultsFile

FILE = "unblinded.json"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval over cells; each is None where it is not defined."""

    __pydantic_config__ = STRICT

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True)
class Agreement:
    """The agreement of readers on one question, for pictures shown for the first time.

    Attributes:
        aspect: the question; each fault of the stain is a separate aspect, such as `stain_faults: nucleus`.
        readers: two readers, or all.
        n: pictures with answers of at least two of these readers; `cells`: number of cells in them.
        observed: share of pairs of answers that are the same.
        cohen: Cohen's kappa; for more than two readers the mean over pairs (Light 1971, doi:10.1037/h0031643).
        weighted: the same with quadratic weights; None unless the answers are ordinal.
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
    """The agreement of a reader's first and second answers to `n` pictures; `reader` None: all readers.

    The numbers are as in `Agreement`; for all readers, their answers are pooled in one table.
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
    """The score of one arm on one measure.

    Attributes:
        measure: see `hemabridge.review.scores.MEASURES`.
        arm: the name of the arm in the key.
        reader: None for all readers together.
        n: number of answers; `cells`: number of their cells.
        share: share of the answers; for the measure `stain, mean` the mean grade, 1..5.
        interval: Wilson interval for one reader, bootstrap over cells for all; None for fewer than two cells.
        difference: from the originals' share, with its interval; None if originals were not shown.
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
    """The discrimination of an arm from photographs that need no re-staining, by signal detection.

    Attributes:
        aspect: `artificial` (answer: artificial) or `laboratory` (answer: of another laboratory).
        arm: the arm whose pictures are the signals.
        reader: None for all readers together.
        hits, signals: of the arm; `false_alarms`, `noises`: of the photographs, of the target's for `laboratory`.
        d_prime: 0: no discrimination (log-linear correction, Hautus 1995), with its bootstrap interval over cells.
        criterion: above 0: readers answer "signal" too rarely.
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
    """Two arms side by side: how often each was better; `share` is that of the first among answers without ties.

    `p`: exact sign test of the answers without ties, one vote for each cell; Holm-corrected in `p_holm`.
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
        screens: number of answered screens, with repeats and without practice.
        seconds: quartiles of the time for one screen: lower, median, upper.
        right: correct answers among the `asked` questions with a known truth.
        accepted: accepting answers among the `judged` ones on stain and morphology.
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
    """One reader's answer in a dispute; `place` is in shares of the picture, from its top left corner."""

    __pydantic_config__ = STRICT

    reader: str
    answer: str
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dispute:
    """A picture with different answers of readers.

    Attributes:
        aspect: the question.
        shown: opaque id of the screen.
        arms: from left to right.
        cell, cell_type, site: as in the key.
        answers: in the order of readers.
        disagreement: share of pairs of answers that differ; for ordinal answers the mean squared distance of pairs as
            a share of the largest possible one.
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
    """The share of a snapshot's cells that readers accepted, as input for `hemabridge select --readers`."""

    __pydantic_config__ = STRICT
    snapshot: str
    accepted: float


@dataclass(frozen=True)
class Reading(ResultsFile):
    """All results of a review.

    Attributes:
        name: name of the review.
        readers: readers who answered at least one item.
        silent: readers who never answered.
        open_sessions: readers who had not finished; `despite`: the reason for unblinding nevertheless.
        earlier: readers who had not finished at earlier unblindings, and the reasons; later answers may not be blind.
        arms: all arms that were shown; `photographs` are those without re-staining.
        facts: counts and versions.
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
