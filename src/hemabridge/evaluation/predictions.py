"""The predictions of classifiers for each cell, from which all numbers of a study can be computed again; as CSV."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hemabridge.errors import InputError
from hemabridge.storage.files import atomic_write
from hemabridge.storage.spreadsheets import as_cells, from_cells

_RUN_COLUMNS = ("site", "part", "classifier", "images", "snapshot", "labels_used")
_SCHEMA: dict[str, type[pl.DataType]] = {
    "site": pl.String,
    "part": pl.String,
    "classifier": pl.String,
    "images": pl.String,
    "snapshot": pl.String,
    "labels_used": pl.Int64,
    "id": pl.String,
    "truth": pl.String,
    "class": pl.String,
    "probability": pl.Float32,
}


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one classifier on one set of images.

    Attributes:
        site: the site whose cells were classified.
        part: `train`, `validation` or `test`.
        classifier: its name in the recipe.
        images: `original`, or the name of the method that re-stained them.
        snapshot: name of the translator's snapshot; None if there is none.
        labels_used: number of labeled images of the source site on which the classifier was fine-tuned.
        ids: one id per cell, unique.
        truth: int64[N], index of the true class.
        probabilities: float32[N, C], 0..1, rows sum to 1.

    Raises:
        ValueError: the arrays do not fit together or have values out of range, an id is repeated, or `snapshot` is
            empty.
    """

    site: str
    part: str
    classifier: str
    images: str
    snapshot: str | None
    labels_used: int
    ids: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.truth.shape != (n,) or self.probabilities.ndim != 2 or len(self.probabilities) != n:
            raise ValueError(
                f"expected truth[{n}] and probabilities[{n}, C] for {n} ids, "
                f"got {self.truth.shape} and {self.probabilities.shape}"
            )
        if len(set(self.ids)) != n:
            raise ValueError(f"expected every cell once in {self.run}, got {n - len(set(self.ids))} repeated ids")
        if n and (self.truth.min() < 0 or self.truth.max() >= self.probabilities.shape[1]):
            raise ValueError(
                f"expected labeled cells of {self.probabilities.shape[1]} classes, got others in {self.run}"
            )
        if not np.allclose(self.probabilities.sum(axis=1), 1.0, atol=1e-3) or (self.probabilities < 0).any():
            raise ValueError(f"expected probabilities that are 0 or more and sum to 1 per cell in {self.run}")
        if self.snapshot == "":
            raise ValueError("expected the name of a snapshot or None, got empty text")

    @property
    def run(self) -> tuple[str, str, str, str, str | None, int]:
        """The key of this run within a study: site, part, classifier, images, snapshot, labels."""
        return self.site, self.part, self.classifier, self.images, self.snapshot, self.labels_used

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64[N], the most probable class of each cell; the first one of equal ones."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)


def write_predictions(predictions: Iterable[Predictions], classes: Sequence[str], path: Path) -> None:
    """Write `predictions.csv` in long format: one line per run, cell and class.

    Columns: site, part, classifier, images, snapshot (empty: none), labels_used, id, truth (a class name), class,
    probability. No spreadsheet can take a cell for a formula (`hemabridge.storage.spreadsheets.as_cell`).
    `read_predictions` returns the same numbers and names.

    Args:
        predictions: the runs of a study.
        classes: class names, in the order of the indices.
        path: the CSV file; an existing one is replaced.

    Raises:
        ValueError: a run has another number of classes.
    """
    frames = [_to_frame(run, classes) for run in predictions]
    table = pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA)
    with atomic_write(path) as temporary:
        as_cells(table).write_csv(temporary)


def read_predictions(path: Path) -> tuple[tuple[Predictions, ...], tuple[str, ...]]:
    """Read what `write_predictions` wrote.

    Returns:
        The runs in the order of the file, and the class names.

    Raises:
        InputError: the file does not exist or is not such a CSV.
    """
    try:
        table = from_cells(pl.read_csv(path, schema=_SCHEMA))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"expected a predictions.csv with columns {', '.join(_SCHEMA)}; {path}: {error}") from error
    classes = tuple(table["class"].unique(maintain_order=True))
    groups = table.partition_by(_RUN_COLUMNS, maintain_order=True)
    try:
        return tuple(_from_frame(group, classes) for group in groups), classes
    except (ValueError, TypeError) as error:
        raise InputError(f"expected the predictions of a study, got something else in {path}: {error}") from error


def _to_frame(run: Predictions, classes: Sequence[str]) -> pl.DataFrame:
    n, num_classes = run.probabilities.shape
    if num_classes != len(classes):
        raise ValueError(f"expected {len(classes)} classes in {run.run}, got {num_classes}")
    constants = dict(zip(_RUN_COLUMNS, run.run, strict=True))
    return pl.DataFrame(
        {
            **{name: [value] * (n * num_classes) for name, value in constants.items()},
            "id": [cell for cell in run.ids for _ in classes],
            "truth": [classes[index] for index in run.truth for _ in classes],
            "class": list(classes) * n,
            "probability": run.probabilities.ravel(),
        },
        schema=_SCHEMA,
    )


def _from_frame(group: pl.DataFrame, classes: tuple[str, ...]) -> Predictions:
    ids = group["id"].to_list()[:: len(classes)]
    if group["id"].to_list() != [cell for cell in ids for _ in classes]:
        raise ValueError(f"cells without a line for each of the {len(classes)} classes")
    if group["class"].to_list() != list(classes) * len(ids):
        raise ValueError("classes in another order from cell to cell")
    run = group.row(0, named=True)
    truth = [classes.index(name) for name in group["truth"].to_list()[:: len(classes)]]
    return Predictions(
        **{name: run[name] for name in _RUN_COLUMNS},
        ids=tuple(ids),
        truth=np.array(truth, dtype=np.int64),
        probabilities=group["probability"].to_numpy().reshape(len(ids), len(classes)),
    )
