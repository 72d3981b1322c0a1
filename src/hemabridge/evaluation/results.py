"""The results of a study as frozen data, for reports, tables and selection. JSON in and out, no PyTorch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

import polars as pl

from hemabridge.evaluation.home_failure import HomeFailure
from hemabridge.evaluation.leaderboard_entries import LabelsSaved, LeaderboardEntry, SnapshotContrast
from hemabridge.models.study_folder import RESULTS
from hemabridge.storage.results_file import STRICT, ResultsFile

Mode: TypeAlias = Literal["strict", "transductive", "none"]
"""Whether the scored images were used to fit a re-staining; see `evaluation.rows.work_out_mode`."""

_TABLE: Final[dict[str, pl.DataType]] = {
    "site": pl.String(),
    "part": pl.String(),
    "classifier": pl.String(),
    "images": pl.String(),
    "snapshot": pl.String(),
    "labels_used": pl.Int64(),
    "n": pl.Int64(),
    "accuracy": pl.Float64(),
    "balanced_accuracy": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "mode": pl.String(),
    "seed": pl.Int64(),
}


@dataclass(frozen=True)
class Row:
    """One classifier on one set of images.

    Attributes:
        site: the site whose cells were classified.
        part: `train`, `validation` or `test`.
        classifier: its name in the recipe.
        images: `original`, or the name of the method that re-stained them.
        snapshot: name of the translator's snapshot; None for originals.
        labels_used: number of labeled images of the source site on which the classifier was fine-tuned.
        n: number of cells.
        accuracy: fraction of cells classified correctly, 0..1.
        balanced_accuracy: mean of the recalls of the classes that occur, 0..1.
        recall: recall of each class, 0..1; None for a class without cells.
        interval: 95% Wilson score interval of the accuracy.
        mode: `strict` (no scored image was among the unlabeled images of the source that were used for a fit),
            `transductive` (some were) or `none` (there was no such fit); from file hashes.
        seed: the study's seed.
    """

    __pydantic_config__ = STRICT

    site: str
    part: str
    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    n: int
    accuracy: float
    balanced_accuracy: float
    recall: dict[str, float | None]
    interval: tuple[float, float]
    mode: Mode
    seed: int


@dataclass(frozen=True)
class PairedTest:
    """Exact McNemar test of a row against the same classifier on the original images of the same cells.

    `rescued` cells were wrong on the original and right re-stained; `broken` the other way round. `p_holm` is
    corrected over all tests of the study against originals, paired or on the leaderboard (Holm 1979).
    """

    __pydantic_config__ = STRICT

    site: str
    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    rescued: int
    broken: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Confusion:
    """Confusion counts, counts[true][predicted], of the row with the same keys."""

    __pydantic_config__ = STRICT

    site: str
    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Closeness:
    """The closeness of images to the ground-truth re-staining (simulated sites only), as means over cells.

    `psnr_db` is in decibels (higher is closer); `delta_e_2000` is the CIEDE2000 color difference (lower is closer).
    """

    __pydantic_config__ = STRICT

    images: str
    snapshot: str | None
    n: int
    psnr_db: float
    delta_e_2000: float


@dataclass(frozen=True)
class CellVerdict:
    """The verdict of the guard on one cell.

    Attributes:
        id: its path in the manifest.
        verdict: `refuse`: its morphology changed; `warn`: in doubt; `pass`.
        reasons: measures beyond the limit of the verdict, the worst one first; none if it passed.
        severity: the worst measure's distance from "unchanged", as a share of the distance of its limit `refuse`.
    """

    __pydantic_config__ = STRICT

    id: str
    verdict: Literal["pass", "warn", "refuse"]
    reasons: tuple[str, ...]
    severity: float


@dataclass(frozen=True)
class MorphologyCheck:
    """One re-staining of the source's test cells under the guard.

    Attributes:
        images: the method.
        snapshot: name of a translator's snapshot; None for a normalizer.
        n: number of cells.
        passed, warned, refused: numbers of cells with the verdicts `pass`, `warn` and `refuse`.
        reasons: number of refused cells for which each measure is a reason, the most frequent one first.
        limits_from: number of held-out target cells from which the limits were learned; 0: there were too few, and
            the strictest limits are used.
        cells: verdicts of the cells, in their order.
    """

    __pydantic_config__ = STRICT

    images: str
    snapshot: str | None
    n: int
    passed: int
    warned: int
    refused: int
    reasons: dict[str, int]
    limits_from: int
    cells: tuple[CellVerdict, ...]


@dataclass(frozen=True)
class AuditFinding:
    """One finding on the images of a site, as in `hemabridge audit`."""

    __pydantic_config__ = STRICT

    severity: Literal["error", "warning", "note"]
    text: str


@dataclass(frozen=True)
class StudyResults(ResultsFile):
    """All results of a study. `facts` holds further statements for the report (counts, seconds, versions).

    Results of older versions do not have the fields after `facts`.

    Example:
        >>> import hemabridge as hb
        >>> results = hb.StudyResults(name="small", classes=("neutrophil", "lymphocyte"), rows=())
        >>> hb.StudyResults.from_json(results.to_json()) == results
        True
        >>> results.table().columns[-2:]
        ['recall of neutrophil', 'recall of lymphocyte']
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "the results.json of a study"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "run the study again"

    name: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    paired: tuple[PairedTest, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    closeness: tuple[Closeness, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    contrasts: tuple[SnapshotContrast, ...] = ()
    labels_saved: tuple[LabelsSaved, ...] = ()
    audit: tuple[AuditFinding, ...] = ()
    guard: tuple[MorphologyCheck, ...] = ()
    home: tuple[HomeFailure, ...] = ()

    def table(self) -> pl.DataFrame:
        """Return `rows` as a table, one row for each classifier on each set of images.

        Columns: site, part, classifier, images, snapshot (null: none), labels_used, n, accuracy, balanced_accuracy, low
        and high (95% Wilson score interval of the accuracy), mode, seed, and `recall of CLASS` for each class (null for
        a class without cells). Rates are 0..1.
        """
        wide = [
            {
                **{name: getattr(row, name) for name in _TABLE if name not in ("low", "high")},
                "low": row.interval[0],
                "high": row.interval[1],
                **{f"recall of {name}": row.recall.get(name) for name in self.classes},
            }
            for row in self.rows
        ]
        recalls = {f"recall of {name}": pl.Float64() for name in self.classes}
        return pl.DataFrame(wide, schema={**_TABLE, **recalls})


def read_study(folder: Path | str) -> StudyResults:
    """Read the results of a study.

    Args:
        folder: the folder of `hemabridge study`, or its `results.json`.

    Returns:
        The results; `table()` gives the rows as a polars table.

    Raises:
        InputError: there is no `results.json`, or it has other content.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import hemabridge as hb
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     text = hb.StudyResults(name="small", classes=("neutrophil",), rows=()).to_json()
        ...     _ = (Path(folder) / "results.json").write_text(text)
        ...     results = hb.read_study(folder)
        >>> results.name, results.table().height
        ('small', 0)
    """
    path = Path(folder)
    return StudyResults.read(path if path.is_file() else path / RESULTS)
