"""The count itself: cells of searched fields are re-stained, classified and counted, wherever their pictures are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from hemabridge.evaluation.differential_results import CUT, CountedCell, CountedField, DifferentialResults
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.site_answer import SiteAnswer, answer_for
from hemabridge.progress import Progress
from hemabridge.workflows.adapt.certainty import reason_unknown
from hemabridge.workflows.differential.opened import Opened
from hemabridge.workflows.find.field_record import CellRecord, FieldRecord
from hemabridge.workflows.find.search import Keep

FOUND: Final = "found"
"""Folder of the results of `hemabridge find`."""

RESTAINED: Final = "restained"
"""Re-stained pictures of the cells, under the names of the originals in `FOUND`."""

BATCH: Final = 32
"""Number of cells that are in memory at once."""

Read: TypeAlias = Callable[[str], UInt8Image]
"""Reads a picture that was kept under a path."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of cells by their paths in the folder of the count, be it on the disk or in memory.

    Attributes:
        read: reads one.
        keep: keeps one.
    """

    read: Read
    keep: Keep


@dataclass(frozen=True)
class _Place:
    """A cell and the field in which it was found."""

    field: FieldRecord
    cell: CellRecord


def count_cells(
    models: Opened, fields: Sequence[FieldRecord], pictures: Pictures, progress: Progress
) -> tuple[DifferentialResults, SiteAnswer | None]:
    """Re-stain, classify and count the cells of fields.

    Args:
        models: the models.
        fields: a record for each file; the crops of their cells are kept below `FOUND`.
        pictures: the crops; re-stained ones are kept below `RESTAINED`.
        progress: told of each step.

    Returns:
        The count, without the names of folder and model, and with seed 0; and whether the cells are in-distribution
        for the classifier, None if its file does not tell or there is no cell.

    Raises:
        ImageError: a crop cannot be read.
    """
    places = [_Place(field, cell) for field in fields for cell in field.cells]
    answer = None
    cells: tuple[CountedCell, ...] = ()
    if places:
        cells = tuple(_classified(places, models, pictures, progress))
        answer = _site_answer(models, places, cells, pictures, progress)
    results = DifferentialResults(
        folder="",
        model="",
        model_sha256=models.classifier.sha256,
        restained_by="" if models.restainer is None else models.restainer.path.name,
        classes=models.classifier.classes,
        cells=cells,
        fields=tuple(_field_row(field) for field in fields if field.status != "left out"),
        confusion=models.confusion,
        confusion_from=models.confusion_from,
        site="" if answer is None else answer.answer,
        site_fact="" if answer is None else answer.fact,
        seed=0,
        cautions=models.cautions,
    )
    return results, answer


def _site_answer(
    models: Opened,
    places: Sequence[_Place],
    cells: Sequence[CountedCell],
    pictures: Pictures,
    progress: Progress,
) -> SiteAnswer | None:
    """Return how far the pictures that the classifier sees are from those of its training."""
    seen = (Path(cell.restained if models.reads_restained else cell.path) for cell in cells)
    found = _FoundImages(pictures, dict(zip(seen, map(_scale_of, places), strict=True)))
    return answer_for(models.classifier, list(found.scales), progress, found)


@dataclass(frozen=True)
class _FoundImages:
    """Reads pictures of cells; `scales` are those of their fields."""

    pictures: Pictures
    scales: Mapping[Path, FoundScale]

    def read(self, path: Path) -> UInt8Image:
        return self.pictures.read(path.as_posix())

    def scale(self, path: Path) -> FoundScale:
        return self.scales[path]


def _scale_of(place: _Place) -> FoundScale:
    assert place.field.um_per_px is not None  # a field with cells has a scale
    return FoundScale(place.field.um_per_px, place.cell.side_px)


def _classified(
    places: Sequence[_Place], models: Opened, pictures: Pictures, progress: Progress
) -> Iterator[CountedCell]:
    """Re-stain and classify cells; yield them in their order. What is no leukocyte was left out in the field."""
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        images = [pictures.read(f"{FOUND}/{place.cell.path}") for place in batch]
        scales = [_scale_of(place) for place in batch]
        checked = [models.restain(image, scale) for image, scale in zip(images, scales, strict=True)]
        found = models.classify(images, [restained for restained, _ in checked], scales)
        rows = zip(batch, checked, found.most_probable, found.probabilities.tolist(), found.reasons, strict=True)
        for place, (restained, verdict), predicted, probabilities, reason in rows:
            path = ""
            if restained is not None:
                path = PurePosixPath(RESTAINED, *PurePosixPath(place.cell.path).parts[1:]).as_posix()
                pictures.keep(path, restained, _scale_of(place).mark)
            unknown = reason or reason_unknown(predicted, max(probabilities), models.unknown_below)
            yield _counted(place, path, predicted, tuple(probabilities), verdict, unknown)
        progress("classifying", start + len(batch), len(places))


def _counted(
    place: _Place, restained: str, predicted: str, probabilities: tuple[float, ...], verdict: str, unknown: str
) -> CountedCell:
    field, cell = place.field, place.cell
    own = CUT if cell.border else cell.blurred
    left_out = f"{field.status}: {field.reason}" if field.status != "searched" else own
    return CountedCell(
        path=f"{FOUND}/{cell.path}",
        restained=restained,
        field=field.field,
        x=cell.x,
        y=cell.y,
        diameter_um=cell.diameter_um,
        cell_um=cell.cell_um,
        um_per_px=_scale_of(place).um_per_px,
        border=cell.border,
        cluster=cell.cluster,
        score=cell.score,
        left_out=left_out,
        predicted=predicted,
        probabilities=probabilities,
        guard=verdict,
        unknown=unknown,
    )


def _field_row(field: FieldRecord) -> CountedField:
    return CountedField(
        field=field.field,
        status=field.status,
        reason=field.reason,
        leukocytes=len(field.cells),
        platelets=field.platelets,
        smudges=field.smudges,
        red_cells=field.red_cells,
        um_per_px=field.um_per_px,
        width=field.width,
        height=field.height,
        overlay=f"{FOUND}/{field.overlay}" if field.overlay else "",
    )
