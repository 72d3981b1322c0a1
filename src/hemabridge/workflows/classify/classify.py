"""`hemabridge classify`: classifies the images of a folder by one classifier, with a row for each image."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from hemabridge.data.listing import not_a_folder
from hemabridge.data.new_cells import Listed, list_new_cells
from hemabridge.engines import LOCAL, Engine
from hemabridge.errors import ImageError, InputError
from hemabridge.evaluation.home_failure import HomeFailure
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.files import reason_of
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.grayness import check_stained
from hemabridge.imaging.reader import FILES, ImageReader
from hemabridge.imaging.scale import check_shows_cell
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models import Classification, Model
from hemabridge.models.classified import UNKNOWN
from hemabridge.models.site_answer import ANSWER_FILE, SiteAnswer, write_answer
from hemabridge.progress import Progress, silent
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, sha256_of
from hemabridge.storage.run_folder import check_apart, check_outputs, check_same_images, hold_folder, names_in
from hemabridge.storage.spreadsheets import as_cells, from_cell
from hemabridge.workflows.classify.labeled_folder import failure_on

PREDICTIONS: Final = "predictions.csv"
DESCRIPTION: Final = "predictions.json"
"""The file that states which model made `PREDICTIONS`."""
FORMAT: Final = 1
"""Version of `DESCRIPTION`."""
COLUMNS: Final = ("path", "predicted_class", "site", "reason")
_TABLE: Final = FileKind("the predictions of an earlier call", InputError, "name another output folder")
"""The first columns of `PREDICTIONS`; one with the probability of each class follows."""
WITHHELD: Final = f"not predicted: all images together are out-of-distribution for this model; see {ANSWER_FILE}"
"""The reason of an image of an out-of-distribution site."""
BATCH: Final = 32
"""Number of images that are classified at once."""
BATCH_PIXELS: Final = 32_000_000
"""Fewer, if they have so many pixels, so that large photographs do not fill the memory."""


@dataclass(frozen=True)
class ImagePrediction:
    """The result for one image.

    Attributes:
        path: relative to the folder.
        predicted: the most probable class; `unknown` if the image shows no single leukocyte; None if there is no
            prediction.
        probabilities: 0..1, in the order of the model's classes; None if there is no prediction.
        reason: why there is no class; empty if there is one.
    """

    path: str
    predicted: str | None
    probabilities: tuple[float, ...] | None
    reason: str


@dataclass(frozen=True)
class Classified:
    """The predictions of one folder.

    Attributes:
        classes: class names in the order of the probabilities.
        rows: one for each image, by path.
        failed: number of images that could not be used.
        withheld: number of images without a prediction because the site is out-of-distribution.
        site: how far the images are from those that the model was fitted on; None if the model has no site profile.
        failure: that the model fails on images whose folders state their classes, and a likely cause if one is found.
    """

    classes: tuple[str, ...]
    rows: tuple[ImagePrediction, ...]
    failed: int
    withheld: int
    site: SiteAnswer | None
    failure: HomeFailure | None

    @property
    def predicted(self) -> int:
        """How many images have a class."""
        return len(self.rows) - self.failed - self.withheld - self.unknown

    @property
    def unknown(self) -> int:
        """How many images show no single leukocyte."""
        return sum(row.predicted == UNKNOWN and row.reason != "" for row in self.rows)


def classify(
    model: Model, source: Path, out: Path, *, engine: Engine = LOCAL, progress: Progress = silent
) -> Classified:
    """Classify every image below a folder; write `PREDICTIONS`, and `DESCRIPTION` with the hash of the model.

    Images of an out-of-distribution site get a reason instead of a predicted class and probabilities. An image that
    shows no single leukocyte is `unknown`, with the reason. If the names of the folders are classes of the model, its
    predictions are compared with them. An image that cannot be read gets a row with the reason. Each file is written
    whole or not at all. An interrupted call starts again when it is repeated.

    Args:
        model: a classifier.
        source: a folder of images of single cells.
        out: a new or empty folder, or that of an earlier call, whose files are replaced.
        engine: where the work is done.
        progress: told of each image.

    Raises:
        ModelError: the model does not classify, or its file is damaged.
        InputError: `source` is no folder of images, one folder is within the other,
            or `out` holds other files or results of other images.
        RunError: another process works in `out`.
    """
    if not source.is_dir():
        raise InputError(f"expected a folder of images, got {not_a_folder(source)}")
    model = model.classifying
    classes = model.classes
    check_apart(out, source)
    _check_own(out)
    listed = list_new_cells(source, None, "new")
    _ = model.classifier  # a damaged file is refused before anything is written
    with hold_folder(out):
        check_same_images(source, out, dict.fromkeys(_paths_in(out / PREDICTIONS), ""))
        site = write_answer(model, listed.manifest.paths(), out, progress)
        distrusted = site is not None and site.answer == "out-of-distribution"
        rows = tuple(sorted(_predictions(model, listed, distrusted, progress, engine), key=lambda row: row.path))
        unpredicted = sum(row.predicted is None for row in rows)
        withheld = sum(row.reason == WITHHELD for row in rows)
        predicted = {row.path: row.predicted for row in rows if row.predicted is not None and not row.reason}
        failure = failure_on(model, source, predicted, site)
        done = Classified(classes, rows, unpredicted - withheld, withheld, site, failure)
        _write_table(done, out / PREDICTIONS)
        _write_description(done, model, out)
    return done


def _predictions(
    model: Model, listed: Listed, distrusted: bool, progress: Progress, engine: Engine
) -> Iterator[ImagePrediction]:
    """Yield a row for each image, in any order."""
    for name, reason in listed.failed.items():
        yield ImagePrediction(name, None, None, reason)
    files = list(zip(listed.manifest.column("path"), listed.manifest.paths(), strict=True))
    yield from predictions(model, files, distrusted, progress, engine=engine)


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Classifies some files of a folder.

    Attributes:
        model: a classifier; it is pickled without what it has loaded.
        distrusted: whether predictions are withheld, since the images are out-of-distribution.
        check: for whole fields.
        images: reads the files.
    """

    model: Model
    distrusted: bool
    check: FieldCheck
    images: ImageReader

    def __call__(self, files: Sequence[tuple[str, Path]]) -> list[ImagePrediction]:
        """Return the result for each file, in any order; the images are classified together, if not too large."""
        rows: list[ImagePrediction] = []
        readable: dict[str, UInt8Image] = {}
        scales: list[FoundScale | None] = []
        pixels = 0
        for count, (name, file) in enumerate(files, 1):
            try:
                image = self.images.read(file)
                check_shows_cell(image)
                check_stained(image)
                scale = self.images.scale(file)
                if reason := self.check.reason(image, file, scale):
                    raise ImageError(reason)
            except (ImageError, OSError, MemoryError) as error:
                rows.append(ImagePrediction(name, None, None, reason_of(error, file)))
            else:
                if self.distrusted:
                    rows.append(ImagePrediction(name, None, None, WITHHELD))
                else:
                    readable[name] = image
                    scales.append(scale)
                    pixels += image.shape[0] * image.shape[1]
            if readable and (pixels >= BATCH_PIXELS or count == len(files)):
                found = self.model.classify(readable.values(), scales)
                rows += _rows(tuple(readable), found)
                readable, scales, pixels = {}, [], 0
        return rows


@dataclass(frozen=True, eq=False)
class _Job:
    """Makes the work on some files in any process."""

    work: _Chunk

    def __call__(self) -> _Chunk:
        """Return the work."""
        return self.work


def predictions(
    model: Model,
    files: Sequence[tuple[str, Path]],
    distrusted: bool,
    progress: Progress = silent,
    images: ImageReader = FILES,
    engine: Engine = LOCAL,
) -> Iterator[ImagePrediction]:
    """Yield the result for each image, in any order; `BATCH` files in their order are classified together.

    Args:
        model: a classifier.
        files: name and path of each image.
        distrusted: whether predictions are withheld, since the images are out-of-distribution.
        progress: told of each image.
        images: reads the files.
        engine: where the work is done; the predictions are the same everywhere.

    Raises:
        ModelError: the model does not classify, or its file is damaged.
    """
    work = _Chunk(model, distrusted, FieldCheck.of([file for _, file in files], images), images)
    make = _Job(replace(work, model=replace(model)))
    chunks = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    count = 0
    for rows in engine.in_order(work, make, chunks):
        for row in rows:
            count += 1
            yield row
            progress("classifying", count, len(files))


def _rows(names: tuple[str, ...], found: Classification) -> list[ImagePrediction]:
    numbers = np.asarray(found.probabilities, np.float64).tolist()
    rows = zip(names, found.predicted, numbers, found.reasons or [""] * len(names), strict=True)
    return [ImagePrediction(name, said, tuple(row), reason) for name, said, row, reason in rows]


def _write_table(done: Classified, path: Path) -> None:
    """Write a row for each image; no spreadsheet takes a value for a formula."""
    answer = None if done.site is None else done.site.answer
    nothing = (None,) * len(done.classes)
    rows = [(row.path, row.predicted, answer, row.reason or None, *(row.probabilities or nothing)) for row in done.rows]
    schema: dict[str, Any] = dict.fromkeys(COLUMNS, pl.String)
    schema |= {f"probability of {name}": pl.Float64 for name in done.classes}
    with atomic_write(path) as temporary:
        as_cells(pl.DataFrame(rows, schema=schema, orient="row")).write_csv(temporary, float_precision=4)


def _write_description(done: Classified, model: Model, out: Path) -> None:
    told = {
        "format": FORMAT,
        "model": {"file": model.path.name, "sha256": model.sha256, "crop_px": model.crop_px},
        "classes": done.classes,
        "predictions_sha256": sha256_of(out / PREDICTIONS),
        "images": len(done.rows),
        "predicted": done.predicted,
        "unknown": done.unknown,
        "failed": done.failed,
        "withheld": done.withheld,
        "site": None if done.site is None else done.site.answer,
        "failure": None if done.failure is None else asdict(done.failure),
    }
    with atomic_write(out / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps(told, indent=2, ensure_ascii=False), encoding="utf-8")


def _check_own(out: Path) -> None:
    """Check that a folder is new or empty, or holds only files of an earlier call."""
    own = {ANSWER_FILE} | ({PREDICTIONS, DESCRIPTION} if _is_own_table(out / PREDICTIONS) else set())
    check_outputs(out, names_in(out) - own)


def _is_own_table(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline().startswith(",".join(COLUMNS).encode())


def _paths_in(table: Path) -> list[str]:
    """Return the images of an earlier call's table."""
    return (
        [from_cell(row[0]) for row in _TABLE.parse_csv(_TABLE.read_text(table), table)[1:]] if table.is_file() else []
    )
