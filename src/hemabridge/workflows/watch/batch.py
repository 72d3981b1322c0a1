"""One batch: images are re-stained and classified in a folder of work, which then appears whole among the results."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

from hemabridge._version import __version__
from hemabridge.errors import InputError, ModelError
from hemabridge.models.bundled import BundleModel
from hemabridge.storage.files import atomic_write, write_bytes
from hemabridge.storage.results_file import STRICT, ResultsFile
from hemabridge.workflows.adapt.apply import CLASSES, RESTAINED, opened_of, run_with
from hemabridge.workflows.classify.classify import WITHHELD, Classified, ImagePrediction, classify
from hemabridge.workflows.standardize.log import FileRow
from hemabridge.workflows.standardize.standardize import Standardized, standardize_with
from hemabridge.workflows.watch.arrivals import Taken
from hemabridge.workflows.watch.gate import Appearance, alarms_of, appearance_of

BATCHES: Final = "batches"
"""Folder of the batches that passed."""
HELD: Final = "held"
"""Folder of the batches that wait for a person."""
QUARANTINE: Final = "quarantine"
"""Folder of the images that cannot be used."""
LONGEST_NAME: Final = 200
"""Bytes of an image's name that are kept in `QUARANTINE`: file systems allow 255, with what is added."""
WORK: Final = ".work"
BATCH: Final = "batch.json"
"""The file with the results of a batch, in its folder."""

Gate: TypeAlias = Literal["passed", "held", "flagged"]
OnAlarm: TypeAlias = Literal["hold", "flag"]


@dataclass(frozen=True)
class Cell:
    """The result for one image.

    Attributes:
        path: relative to the watched folder.
        sha256: of the image.
        predicted: its class; None without a classifier or a prediction.
        probability: of this class.
        verdict: of the morphology guard; empty without one.
        restained_by: `model` or `fallback`; empty without a re-stained image.
        output_sha256: of the re-stained image; empty without one.
        reason: why there is no result; empty if there is one.
    """

    path: str
    sha256: str
    predicted: str | None
    probability: float | None
    verdict: str
    restained_by: str
    output_sha256: str
    reason: str


@dataclass(frozen=True)
class Batch(ResultsFile):
    """A finished batch.

    Attributes:
        batch: its name.
        bundle_sha256: of the bundle.
        version: of hemabridge.
        gate: whether it passed.
        alarms: why it did not pass, or was flagged.
        appearance: of its images.
        cells: the result for each image.
    """

    __pydantic_config__ = STRICT
    WHAT: ClassVar[str] = "a batch of `hemabridge watch`"
    FORMAT: ClassVar[int] = 1
    AGAIN: ClassVar[str] = "remove its folder; its images are then done again"
    KIND: ClassVar[str | None] = "batch"

    batch: str
    bundle_sha256: str
    version: str
    gate: Gate
    alarms: tuple[str, ...]
    appearance: Appearance
    cells: tuple[Cell, ...]

    @property
    def unusable(self) -> tuple[Cell, ...]:
        """The images without a result because they cannot be used."""
        without = [cell for cell in self.cells if not cell.output_sha256 and cell.predicted is None]
        return tuple(cell for cell in without if cell.reason != WITHHELD)

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of the audit log: one for each image, and one for the batch, which comes last."""
        shared = {"batch": self.batch, "bundle_sha256": self.bundle_sha256, "version": self.version}
        site = self.appearance.answer
        cells = [{"event": "image", **shared, "gate": self.gate, "site": site, **asdict(cell)} for cell in self.cells]
        whole = {
            "event": "batch",
            **shared,
            "gate": self.gate,
            "alarms": list(self.alarms),
            "site": site,
            "score": self.appearance.score,
            "images": len(self.cells),
            "unusable": len(self.unusable),
        }
        return [*cells, whole]


def work_on(
    model: BundleModel,
    images: Sequence[Taken],
    out: Path,
    name: str,
    scores: Sequence[float],
    on_alarm: OnAlarm,
    *,
    keep_identity: bool = False,
) -> Batch:
    """Re-stain and classify images, check the batch, and move its folder to `BATCHES` or `HELD`.

    Args:
        model: a bundle.
        images: the images.
        out: the output folder, which this process holds.
        name: of the batch.
        scores: of the appearance of earlier batches, oldest first.
        on_alarm: `hold` moves a batch with an alarm to `HELD`; `flag` only says so in its file.
        keep_identity: whether re-stained DICOM files get patient, study and specimen of their source.

    Raises:
        OSError: something cannot be written; nothing has appeared then.
    """
    work = out / WORK / name
    shutil.rmtree(work, ignore_errors=True)
    for image in images:
        write_bytes(work / "in" / image.path, image.content)
    result = work / "out"
    rows = _results(model, images, work / "in", result, keep_identity)
    meant_for = model.restainer or model.classifying
    appearance = appearance_of(meant_for, [work / "in" / image.path for image in images])
    verdicts = [row.verdict for row in rows if row.verdict]
    alarms = alarms_of(appearance, scores, verdicts.count("refuse"), len(verdicts))
    gate: Gate = "passed" if not alarms else "held" if on_alarm == "hold" else "flagged"
    batch = Batch(name, model.sha256, __version__, gate, alarms, appearance, rows)
    with atomic_write(result / BATCH) as temporary:
        temporary.write_text(batch.to_json(), encoding="utf-8")
    _quarantine(batch, images, out)
    for lock in result.rglob(".lock"):
        lock.unlink()
    place = out / (HELD if gate == "held" else BATCHES)
    place.mkdir(parents=True, exist_ok=True)
    os.replace(result, place / name)
    _sync(place)
    shutil.rmtree(work, ignore_errors=True)
    return batch


def finished_batches(out: Path) -> Iterator[Batch]:
    """Yield the batches whose folders are among the results, by name."""
    files = [file for place in (BATCHES, HELD) for file in (out / place).glob(f"*/{BATCH}")]
    for file in sorted(files, key=lambda file: file.parent.name):
        yield Batch.read(file)


def quarantine(out: Path, path: str, sha256: str, reason: str, content: bytes | None) -> None:
    """Keep an image that cannot be used, if there is one, and the reason, under a name that no other image has."""
    own = hashlib.sha256(os.fsencode(f"{sha256} {path}")).hexdigest()[:16]
    name = f"{own}-{os.fsencode(Path(path).name)[-LONGEST_NAME:].decode(errors='ignore')}"
    if content is not None:
        write_bytes(out / QUARANTINE / name, content)
    told = json.dumps({"path": path, "sha256": sha256, "reason": reason}, indent=1, ensure_ascii=False)
    write_bytes(out / QUARANTINE / f"{name}.reason.json", told.encode())


def _results(
    model: BundleModel, images: Sequence[Taken], source: Path, result: Path, keep_identity: bool
) -> tuple[Cell, ...]:
    """Re-stain and classify the images of a folder; return a row for each."""
    classified: Classified | None = None
    restained: Standardized | None = None
    result.mkdir(parents=True)
    try:
        if model.own_classifier is None:
            restained = standardize_with(model, source, result / RESTAINED, keep_identity=keep_identity)
        elif model.restainer is None:
            classified = classify(model, source, result / CLASSES)
        else:
            done = run_with(opened_of(model), source, result, keep_identity=keep_identity)
            classified, restained = done.classified, done.restained
    except ModelError:
        raise
    except InputError as error:  # none of the images can be used
        return tuple(Cell(image.path, image.sha256, None, None, "", "", "", str(error)) for image in images)
    classes = {} if classified is None else {row.path: row for row in classified.rows}
    files = {} if restained is None else {row.path: row for row in restained.rows}
    return tuple(_cell(image, classes.get(image.path), files.get(image.path)) for image in images)


def _cell(image: Taken, row: ImagePrediction | None, file: FileRow | None) -> Cell:
    probability = None if row is None or row.probabilities is None else round(max(row.probabilities), 6)
    reasons = dict.fromkeys(filter(None, ("" if row is None else row.reason, "" if file is None else file.reason)))
    return Cell(
        path=image.path,
        sha256=image.sha256,
        predicted=None if row is None else row.predicted,
        probability=probability,
        verdict="" if file is None else file.verdict,
        restained_by="" if file is None else file.restained_by,
        output_sha256="" if file is None else file.output_sha256,
        reason="; ".join(reasons),
    )


def _quarantine(batch: Batch, images: Sequence[Taken], out: Path) -> None:
    contents = {image.path: image.content for image in images}
    for cell in batch.unusable:
        quarantine(out, cell.path, cell.sha256, cell.reason, contents[cell.path])


def _sync(folder: Path) -> None:
    """Make sure that a folder's new name is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
