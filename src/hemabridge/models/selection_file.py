"""The result of a selection of snapshots, as frozen data. JSON in and out, no PyTorch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from hemabridge.errors import InputError
from hemabridge.storage.results_file import STRICT, ResultsFile

FILE = "selection.json"
PICTURE = "selection.png"
"""The picture of the selection, in a run folder beside `FILE`."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class SnapshotRow:
    """The measures of one snapshot, or of the originals, on cells that are not scored.

    Attributes:
        snapshot: name of the snapshot, or `original`.
        sha256: SHA-256 of its file; empty for the originals.
        images: number of images of the training so far.
        stain: distance to the target as a share of the originals'; `stain_interval` is its 95% bootstrap interval.
        smoothed: the distance for the rule, averaged over neighboring snapshots; None for the originals.
        lab: distance of each compartment in CIELAB; about 1 is just visible.
        optical_density: distance of each compartment in optical density.
        kid: kernel distance to the target, with its 95% bootstrap interval; may be negative.
        domain_auc: domain-classifier AUC of these images and the target's; 0.5: not distinguishable, to 1.
        refused: share of cells that the morphology guard refuses, with its 95% bootstrap interval.
        kept: structure kept, mean over cells, with its 95% bootstrap interval.
        fit: whether it can be chosen: the guard and readers do not refuse it, it keeps enough structure, and it leaves
            empty glass clean.
        won: share of resamples in which the rule chose it.
        confidence: mean largest probability of the classifiers; None without a classifier.
        prior_shift: total variation between the mean probabilities of the classes here and on the target, 0..1.
        disagreement: with shape members 1 - the soft agreement of the classifiers' votes with them, 0..1; without them
            the consensus negative log-likelihood in nats; None without a classifier.
        error: share of cells that the classifiers misclassify; only if labels were used.
        readers: share of cells that readers accepted; None without readers.
        tinted: share of cells with new blotches of color on empty glass; None in earlier files.
    """

    __pydantic_config__ = STRICT

    snapshot: str
    sha256: str
    images: int
    stain: float
    stain_interval: Interval
    smoothed: float | None
    lab: dict[str, float]
    optical_density: dict[str, float]
    kid: float
    kid_interval: Interval
    domain_auc: float
    refused: float
    refused_interval: Interval
    kept: float
    kept_interval: Interval
    fit: bool
    won: float
    confidence: float | None = None
    prior_shift: float | None = None
    disagreement: float | None = None
    error: float | None = None
    readers: float | None = None
    tinted: float | None = None


@dataclass(frozen=True)
class Selection(ResultsFile):
    """The chosen snapshot, the reasons, and the measures of all snapshots.

    Attributes:
        run: name of the run.
        chosen: name of the chosen snapshot; None if none can be chosen.
        alike: other snapshots that do not differ from it significantly.
        reasons: the reasons in plain sentences.
        original: the measures of the original cells.
        snapshots: all snapshots, the oldest one first.
        kid_floor: kernel distance of the two halves of the target's cells, and its interval.
        facts: rule, numbers and kinds of cells, features.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = FILE
    FORMAT: ClassVar[int] = 4
    AGAIN: ClassVar[str] = "run `hemabridge select RUN` again, or name a snapshot"

    run: str
    chosen: str | None
    alike: tuple[str, ...]
    reasons: str
    original: SnapshotRow
    snapshots: tuple[SnapshotRow, ...]
    kid_floor: tuple[float, Interval]
    facts: dict[str, Any] = field(default_factory=dict)

    def row(self, name: str) -> SnapshotRow:
        """Return the row of a snapshot.

        Raises:
            LookupError: there is no such row.
        """
        for row in self.snapshots:
            if row.snapshot == name:
                return row
        raise LookupError(name)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: the text is not such JSON, has another format version, or its choice is not among its snapshots.
        """
        found = super().from_json(text)
        names = [row.snapshot for row in found.snapshots]
        strange = [name for name in (found.chosen, *found.alike) if name is not None and name not in names]
        if strange or len(set(names)) != len(names):
            got = strange or "one of them twice"
            raise InputError(f"expected a choice among the snapshots {names}, got {got}; {cls.AGAIN}")
        return found
