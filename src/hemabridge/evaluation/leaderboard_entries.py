"""The leaderboard entries of a study, as frozen data of `StudyResults` beside its rows."""

from dataclasses import dataclass
from typing import Literal

from hemabridge.storage.results_file import STRICT


@dataclass(frozen=True)
class Against:
    """A run compared with the unchanged classifier on the original images of the same cells, without labels.

    Attributes:
        rescued, broken: cells that are wrong there and right in this run; cells that are right there and wrong in it.
        p: exact McNemar test; `p_holm`: corrected over all such comparisons and paired tests of the study.
        accuracy, balanced_accuracy: differences, -1..1; above 0, this run is better than the originals.
        accuracy_interval, balanced_interval: their 95% percentile intervals, paired bootstrap.
        smallest_difference: smallest difference of accuracy that McNemar's test finds with 80% power at this n and this
            share of different cells; None if it can find none.
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
    """Cells whose predicted class has a probability up to `upper`: their number, mean confidence and accuracy."""

    __pydantic_config__ = STRICT

    upper: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The calibration of a run: confidence compared with accuracy.

    Attributes:
        ece: expected calibration error, 0..1, over ten equal widths of confidence.
        brier: Brier score over all classes, 0..2.
        bins: the bins that are not empty.
        temperature: fitted on the target's validation part; None if there is none. `ece_scaled` and `brier_scaled` are
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
    """Cells of other classes that are wrongly classified as the target's most frequent class, before or after.

    Cells of the most frequent class that are classified correctly only after re-staining are rescued, and are counted
    separately.

    Attributes:
        majority: the most frequent class of the target's training part.
        towards, away: cells of other classes with this prediction only after, or only before re-staining.
        broken: cells of `towards` that were classified correctly before; the others were wrong before, too.
        rightly: cells of this class with this prediction only after re-staining; they are in none of the other counts.
        share: of `towards` among `towards` and `away`, 0..1, and its 95% Wilson interval; None if both are 0.
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
    """Mean and sample standard deviation over seeds of the whole study, on the same cells."""

    __pydantic_config__ = STRICT

    seeds: tuple[int, ...]
    accuracy: float
    accuracy_sd: float
    balanced_accuracy: float
    balanced_sd: float


@dataclass(frozen=True)
class LeaderboardEntry:
    """A line of the leaderboard, for the row with the same site, classifier, images, snapshot and labels.

    Attributes:
        variant_of: the classifier from which this variant was made without labels; the classifier itself if it is none.
        unit: the unit of the bootstrap; `units`: their number.
        accuracy_interval, balanced_interval: 95% percentile intervals of the bootstrap.
        against: None for the originals themselves.
        risk: mean risk over all coverages (area under the risk-coverage curve), 0..1; lower is better.
        risk_curve: pairs of coverage and risk.
        flips: None for originals, for runs with labels, and if the target's most frequent class is not unique.
        spread: None for one seed.
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
    """Two consecutive snapshots of a translator, compared by one classifier on the same cells.

    Attributes:
        first_only, second_only: cells that are classified correctly with this snapshot only.
        difference: of accuracy, second minus first, and its 95% percentile interval (paired bootstrap).
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
    """The number of labeled originals with which fine-tuning reaches the accuracy of a label-free re-staining.

    Attributes:
        accuracy: accuracy of the label-free re-staining.
        curve: pairs of labels and accuracy on originals, from 0 labels on.
        labels: interpolated between the numbers that were tried; None for more than the largest of them.
        interval: 95% percentile interval (paired bootstrap); None at an end that is above the largest number.
    """

    __pydantic_config__ = STRICT

    classifier: str
    images: str
    snapshot: str | None
    accuracy: float
    curve: tuple[tuple[int, float], ...]
    labels: float | None
    interval: tuple[float | None, float | None]
