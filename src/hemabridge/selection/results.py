"""What selection found, as frozen data. JSON in and out, no PyTorch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hemabridge.errors import InputError

FILE = "selection.json"
FORMAT_VERSION = 3

# What is read from a file is taken as it stands: no "0.5" for 0.5, no unknown keys, no NaN.
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Interval = tuple[float, float]


@dataclass(frozen=True)
class SnapshotRow:
    """One snapshot, or the originals, measured on cells that are not scored.

    Attributes:
        snapshot: name of the snapshot, or `original`.
        sha256: of its file; empty for the originals.
        images: images seen in training.
        stain: distance to the target as a share of the originals'; `stain_interval` is its 95% bootstrap interval.
        smoothed: the distance that the rule compared: averaged over neighbouring snapshots. None for the originals.
        lab: distance of each compartment in CIELAB; about 1 is just visible.
        optical_density: distance of each compartment in optical density.
        kid: kernel distance to the target, with its 95% bootstrap interval; may be negative.
        told_apart: AUC of a model that tells these images from the target's, 0.5 (it cannot) to 1.
        refused: share of cells that the morphology guard refuses, with its 95% bootstrap interval.
        kept: structure kept, mean over cells, with its 95% bootstrap interval.
        fit: whether it is above the floors of the rule.
        won: share of resamples in which the rule chose it.
        confidence: mean largest probability of the classifiers; None without a classifier.
        prior_shift: total variation between the classes' mean probabilities here and on the target, 0..1.
        dissent: how little the classifiers' answers agree with those about all snapshots together, in nats; None
            without a classifier.
        error: share of cells that the classifiers name wrongly; only if labels were used.
        readers: share of cells that readers accepted; None if nobody read.
    """

    __pydantic_config__ = _STRICT

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
    told_apart: float
    refused: float
    refused_interval: Interval
    kept: float
    kept_interval: Interval
    fit: bool
    won: float
    confidence: float | None = None
    prior_shift: float | None = None
    dissent: float | None = None
    error: float | None = None
    readers: float | None = None


@dataclass(frozen=True)
class Selection:
    """Which snapshot to use, why, and how sure that is.

    Attributes:
        run: name of the run.
        chosen: name of the snapshot; None where none is above the floor.
        alike: the others that cannot be told from it.
        reasons: the choice in plain sentences.
        original: the cells as they came.
        snapshots: all, oldest first.
        kid_floor: kernel distance of one half of the target's cells to the other, and its interval.
        facts: rule, counts of cells, what they are, what the features are.
    """

    __pydantic_config__ = _STRICT

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
            LookupError: it was not measured.
        """
        for row in self.snapshots:
            if row.snapshot == name:
                return row
        raise LookupError(name)

    def to_json(self) -> str:
        """Return JSON that `Selection.from_json` accepts."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Selection":
        """Read what `to_json` wrote.

        Raises:
            InputError: the text is not such JSON, of another format version, or chooses what it did not measure.
        """
        try:
            data = json.loads(text)
            version = data.pop("format", None) if isinstance(data, dict) else None
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"expected {FILE}, got something else: {error}") from error
        if version != FORMAT_VERSION:
            raise InputError(f"expected {FILE} of format {FORMAT_VERSION}, got {version!r}; select again")
        try:
            found = TypeAdapter(cls).validate_json(json.dumps(data))
        except ValidationError as error:
            raise InputError(f"expected {FILE}, got something else: {error}") from error
        names = [row.snapshot for row in found.snapshots]
        strange = [name for name in (found.chosen, *found.alike) if name is not None and name not in names]
        if strange or len(set(names)) != len(names):
            raise InputError(f"expected a choice among the snapshots {names}, got {strange or 'one of them twice'}")
        return found

    @classmethod
    def read(cls, path: Path) -> "Selection":
        """Read `selection.json`.

        Raises:
            InputError: the file cannot be read, or does not hold such results.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"expected {FILE} at {path}: {error}") from error
        try:
            return cls.from_json(text)
        except InputError as error:
            raise InputError(f"{path}: {error}; run `hemabridge select` again, or name a snapshot") from error
