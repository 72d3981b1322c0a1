"""Where each run of a study stands: frozen data that `StudyResults` holds beside its rows."""

from dataclasses import dataclass
from typing import Literal

from hemabridge.storage.results_file import STRICT


@dataclass(frozen=True)
class Against:
    """A run against the unchanged classifier on the original images of the same cells, without any label.

    Attributes:
        rescued, broken: cells wrong there and right here; the other way round.
        p: exact McNemar test; `p_holm`: corrected over all such comparisons and paired tests of the study.
        accuracy, balanced_accuracy: differences, -1..1; above 0 is better than the originals.
        accuracy_interval, balanced_interval: their 95% percentile intervals, paired bootstrap.
        smallest_difference: of accuracy, that McNemar's test shows with 80% power at this n and this much disagreement;
            None where it could show none.
    """

    __pydantic_config__ = STRICT

    rescued: int
    broken: int
    p: float
    p_holm: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    balanced_interval: tuple[float, float]
    smallest_difference: float | None


@dataclass(frozen=True)
class Bin:
    """Cells whose predicted class has a probability up to `upper`: how sure the classifier was, how often right."""

    __pydantic_config__ = STRICT

    upper: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Whether a run is as often right as it says.

    Attributes:
        ece: expected calibration error, 0..1, over ten equal widths of confidence.
        brier: Brier score over all classes, 0..2.
        bins: those that hold cells.
        temperature: fitted on the target's validation part; None without one. `ece_scaled` and `brier_scaled` are
            those of the probabilities with this temperature.
    """

    __pydantic_config__ = STRICT

    ece: float
    brier: float
    bins: tuple[Bin, ...]
    temperature: float | None
    ece_scaled: float | None
    brier_scaled: float | None


@dataclass(frozen=True)
class Flips:
    """Cells of other classes that were wrongly taken for the target's commonest class, re-stained against original.

    A cell of the commonest class itself that is newly classified as it was rescued; it is no drift, and counted beside.

    Attributes:
        majority: the commonest class of the target's training part.
        towards, away: cells of another class that were given that class only after, or only before.
        broken: those of `towards` that were classified correctly before; the others were wrong already.
        rightly: cells of that class that were given it only after: right changes, in none of the other counts.
        share: of `towards` among `towards` and `away`, 0..1, and its 95% Wilson interval; None where both are 0.
        p: exact two-sided test of a share of 1/2; `p_holm`: corrected over all such tests of the study.
    """

    __pydantic_config__ = STRICT

    majority: str
    towards: int
    away: int
    broken: int
    rightly: int
    share: float | None
    share_interval: tuple[float, float] | None
    p: float
    p_holm: float


@dataclass(frozen=True)
class SeedSpread:
    """Mean and sample standard deviation over random starts of the whole study on the same cells."""

    __pydantic_config__ = STRICT

    seeds: tuple[int, ...]
    accuracy: float
    accuracy_sd: float
    balanced_accuracy: float
    balanced_sd: float


@dataclass(frozen=True)
class LeaderboardEntry:
    """A line of the leaderboard: what is known of the row with the same site, classifier, images, snapshot and labels.

    Attributes:
        variant_of: the classifier that this one was made from without labels; itself if it is none.
        unit: what the bootstrap drew, and how many of them there are.
        accuracy_interval, balanced_interval: 95% percentile intervals of the bootstrap.
        against: None for the originals themselves.
        risk: mean risk over all coverages (area under the risk-coverage curve), 0..1; lower is better.
        risk_curve: pairs of coverage and risk.
        flips: None for originals, for runs that learned on labels, and where the target has no one commonest class.
        spread: None where one seed was run.
    """

    __pydantic_config__ = STRICT

    site: str
    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    variant_of: str
    unit: Literal["patient", "cell"]
    units: int
    accuracy_interval: tuple[float, float]
    balanced_interval: tuple[float, float]
    against: Against | None
    calibration: Calibration
    risk: float
    risk_curve: tuple[tuple[float, float], ...]
    flips: Flips | None = None
    spread: SeedSpread | None = None


@dataclass(frozen=True)
class SnapshotContrast:
    """Two neighboring snapshots of a translator, compared by one classifier on the same cells.

    Attributes:
        first_only, second_only: cells that are classified correctly with that snapshot only.
        difference: of accuracy, second less first, and its 95% percentile interval (paired bootstrap).
        p: exact McNemar test; `p_holm`: corrected over all contrasts of the study.
        smallest_difference: as in `Against`.
    """

    __pydantic_config__ = STRICT

    classifier: str
    labels_used: int
    images: str
    first: str
    second: str
    n: int
    first_only: int
    second_only: int
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    smallest_difference: float | None


@dataclass(frozen=True)
class LabelsSaved:
    """How many labeled originals bring a classifier as far as a re-staining does without a label.

    Attributes:
        accuracy: of the label-free re-staining.
        curve: pairs of labels and accuracy on originals, from 0 labels on.
        labels: interpolated between the numbers that were tried; None for more than all of them.
        interval: 95% percentile interval (paired bootstrap); None at an end for more than all that were tried.
    """

    __pydantic_config__ = STRICT

    classifier: str
    images: str
    snapshot: str | None
    accuracy: float
    curve: tuple[tuple[int, float], ...]
    labels: float | None
    interval: tuple[float | None, float | None]
