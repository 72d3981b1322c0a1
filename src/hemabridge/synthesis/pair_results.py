"""Results of a synthesis for each pair of classes: frozen dataclasses, stored as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from hemabridge.storage.results_file import STRICT, ResultsFile
from hemabridge.synthesis.learning_curve import LearningCurve

FILE = "results.json"

Interval: TypeAlias = tuple[float, float]
Direction: TypeAlias = Literal["to_target", "to_source"]


@dataclass(frozen=True)
class Share:
    """`count` of `n` cells, with the 95% Wilson interval of the fraction."""

    __pydantic_config__ = STRICT

    count: int
    n: int
    interval: Interval

    @property
    def value(self) -> float:
        """The fraction, 0..1."""
        return self.count / self.n


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% bootstrap interval over cells."""

    __pydantic_config__ = STRICT

    value: float
    interval: Interval


@dataclass(frozen=True)
class Spread:
    """Quantiles of `n` values: 5%, 25%, 50%, 75% and 95%."""

    __pydantic_config__ = STRICT

    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    n: int


@dataclass(frozen=True)
class ShapeRow:
    """The distribution of one measure of the nucleus.

    Attributes:
        measure: its name in `hemabridge.synthesis.shape_distributions`.
        source: of the real held-out cells that were translated; cells without a nucleus are excluded here and below.
        synthetic: of the synthetic cells.
        real: of real held-out cells of the intended class.
        untouched: 1-Wasserstein distance of source to real, in standard deviations of all real training cells of the
            intended class.
        distance: the same distance of synthetic to real.
        floor: the same distance of as many real training cells of the intended class to real.
    """

    __pydantic_config__ = STRICT

    measure: str
    source: Spread
    synthetic: Spread
    real: Spread
    untouched: Estimate
    distance: Estimate
    floor: Estimate


@dataclass(frozen=True)
class Copy:
    """A synthetic cell and the most similar real training cell.

    Attributes:
        id: of the source of the synthetic cell.
        training_id: of the training cell.
        bits: Hamming distance of their perceptual hashes, 0..64.
        correlation: of their fine detail after the best small shift, -1..1.
        feature_distance: distance of the synthetic cell to its nearest training cell in the scoring classifier's
            features.
        rule: `same field` (what `hemabridge audit` calls a near duplicate) or `nearer than real` (nearer to training
            cells, in features and by hash, than every real held-out cell); None if it is not a copy.
    """

    __pydantic_config__ = STRICT

    id: str
    training_id: str
    bits: int
    correlation: float
    feature_distance: float
    rule: Literal["same field", "nearer than real"] | None


@dataclass(frozen=True)
class CopyCheck:
    """The distance of synthetic and real cells to real training cells of both classes.

    Attributes:
        training: number of training cells.
        synthetic: share of the synthetic cells that are copies.
        real: share of the real held-out cells of the intended class that are copies by the same rule.
        copies: the synthetic copies, the nearest first.
        nearest: the synthetic cells nearest to a training cell, copies or not, for inspection.
        features: distance to the nearest training cell in the scoring classifier's features, of synthetic and of
            real cells.
        bits: distance to the nearest training cell by perceptual hash, of synthetic and of real cells.
        limit_features: smallest such distance of real cells that are not scored.
        limit_bits: the same by hash.
    """

    __pydantic_config__ = STRICT

    training: int
    synthetic: Share
    real: Share
    copies: tuple[Copy, ...]
    nearest: tuple[Copy, ...]
    features: dict[str, Spread]
    bits: dict[str, Spread]
    limit_features: float
    limit_bits: int

    def shown(self) -> tuple[Copy, ...]:
        """Return the cells for the report: all copies, and the nearest cells."""
        return tuple(dict.fromkeys((*self.copies, *self.nearest)))


@dataclass(frozen=True)
class SnapshotCheck:
    """Measures of one snapshot on the validation part, by which it is chosen.

    Attributes:
        snapshot: its name.
        images: images seen in training.
        intended: share of its synthetic cells that the second classifier predicts as the intended class.
        kid: kernel distance to real validation cells of the intended class, in the second classifier's features.
    """

    __pydantic_config__ = STRICT

    snapshot: str
    images: int
    intended: Share
    kid: float


@dataclass(frozen=True)
class DirectionResults:
    """Results for the synthetic cells of one direction; the scored cells are translated from unseen source cells.

    Attributes:
        direction: `to_target` or `to_source` of the pair.
        source_class: class of the cells that were translated.
        intended_class: class that the synthetic cells should have.
        snapshot: the chosen snapshot.
        model_sha256: hash of its file.
        checks: all snapshots on the validation part, oldest first.
        intended: share of synthetic cells that the scoring classifier predicts as the intended class.
        intended_real: the same share of real held-out cells of the intended class.
        intended_source: the same share of the untranslated source cells: false positives of the scoring classifier.
        second: share of synthetic cells that the second classifier, trained on all classes of the recipe, predicts as
            the intended class.
        second_real: the same share of real held-out cells of the intended class.
        kid: kernel distance of synthetic to real held-out cells of the intended class, in the scoring classifier's
            features.
        kid_floor: the same distance of two sets of real held-out cells of the intended class.
        kid_source: the same distance of the untranslated sources to the intended class.
        shapes: one row for each measure of the nucleus.
        copies: distance of synthetic cells to training cells.
        way_back: mean absolute difference between sources and their reconstructions, 0..255.
    """

    __pydantic_config__ = STRICT

    direction: Direction
    source_class: str
    intended_class: str
    snapshot: str
    model_sha256: str
    checks: tuple[SnapshotCheck, ...]
    intended: Share
    intended_real: Share
    intended_source: Share
    second: Share
    second_real: Share
    kid: Estimate
    kid_floor: Estimate
    kid_source: Estimate
    shapes: tuple[ShapeRow, ...]
    copies: CopyCheck
    way_back: float


@dataclass(frozen=True)
class PairResults:
    """One pair of classes; `cells` counts the real cells by class and part."""

    __pydantic_config__ = STRICT

    name: str
    source_class: str
    target_class: str
    cells: dict[str, dict[str, int]]
    directions: tuple[DirectionResults, ...]


@dataclass(frozen=True)
class SynthesisResults(ResultsFile):
    """All results of a synthesis; `facts` are further statements for the report (seconds, versions).

    `learning_curve` is the rare-class learning curve, if the recipe has that section.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the results of a synthesis"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "run `hemabridge synthesize RECIPE` again"
    KIND: ClassVar[str | None] = "synthesis"

    name: str
    site: str
    pairs: tuple[PairResults, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    learning_curve: LearningCurve | None = None
