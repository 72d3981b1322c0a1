"""The count itself: cells of searched fields are re-stained, classified and counted, wherever their pictures are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

import numpy as np

from hemabridge.evaluation.differential_results import CUT, CountedCell, CountedField, DifferentialResults
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.site_answer import SiteAnswer, answer_for
from hemabridge.progress import Progress
from hemabridge.sampling import evenly_spaced
from hemabridge.workflows.differential.opened import Opened
from hemabridge.workflows.find.field_record import CellRecord, FieldRecord
from hemabridge.workflows.find.search import Keep

FOUND: Final = "found"
"""Folder of the results of `hemabridge find`."""

RESTAINED: Final = "restained"
"""Re-stained pictures of the cells, under the names of the originals in `FOUND`."""

SCALED_CELLS: Final = 200
"""Largest number of cells from which the side of the square around a cell is estimated."""

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
    opened: Opened, fields: Sequence[FieldRecord], pictures: Pictures, progress: Progress
) -> tuple[DifferentialResults, SiteAnswer | None]:
    """Re-stain, classify and count the cells of fields.

    Args:
        opened: the models.
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
    models, answer = opened, None
    cells: tuple[CountedCell, ...] = ()
    if places:
        scale = float(np.median([_scale_of(place) for place in places]))
        models = opened.at_scale_of([_read(pictures, place, scale) for place in _spread(places)])
        cells = tuple(_named(places, models, scale, pictures, progress))
        answer = _site_answer(models, places, cells, scale, pictures, progress)
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


def _spread(places: Sequence[_Place]) -> list[_Place]:
    """Return cells, evenly spaced, that the border does not cut; if all are cut, any."""
    whole = [place for place in places if not place.cell.border] or list(places)
    return [whole[row] for row in evenly_spaced(len(whole), SCALED_CELLS, ends=True)]


def _site_answer(
    models: Opened,
    places: Sequence[_Place],
    cells: Sequence[CountedCell],
    scale: float,
    pictures: Pictures,
    progress: Progress,
) -> SiteAnswer | None:
    """Return how far the pictures that the classifier sees are from those of its training."""
    if models.reads_restained:
        files = [Path(cell.restained) for cell in cells]
        return answer_for(models.classifier, files, progress, lambda file: pictures.read(file.as_posix()))
    by_file = {Path(cell.path): place for cell, place in zip(cells, places, strict=True)}
    return answer_for(models.classifier, list(by_file), progress, lambda file: _read(pictures, by_file[file], scale))


def _scale_of(place: _Place) -> float:
    assert place.field.um_per_px is not None  # a field with cells has a scale
    return place.field.um_per_px


def _read(pictures: Pictures, place: _Place, um_per_px: float) -> UInt8Image:
    """Return the picture of a cell, resized to a number of micrometers per pixel that all cells share."""
    image = pictures.read(f"{FOUND}/{place.cell.path}")
    side = max(8, round(image.shape[0] * _scale_of(place) / um_per_px))
    return image if side == image.shape[0] else resize_square(image, side)


def _named(
    places: Sequence[_Place], models: Opened, scale: float, pictures: Pictures, progress: Progress
) -> Iterator[CountedCell]:
    """Re-stain and classify cells; yield them in their order. What is no leukocyte was left out in the field."""
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        images = [_read(pictures, place, scale) for place in batch]
        checked = [models.restain(image) for image in images]
        found = models.classify(images, [restained for restained, _ in checked])
        rows = zip(batch, checked, found.most_probable, found.probabilities.tolist(), strict=True)
        for place, (restained, verdict), predicted, probabilities in rows:
            path = ""
            if restained is not None:
                path = PurePosixPath(RESTAINED, *PurePosixPath(place.cell.path).parts[1:]).as_posix()
                pictures.keep(path, restained)
            yield _counted(place, path, predicted, tuple(probabilities), verdict)
        progress("classifying", start + len(batch), len(places))


def _counted(
    place: _Place, restained: str, predicted: str, probabilities: tuple[float, ...], verdict: str
) -> CountedCell:
    field, cell = place.field, place.cell
    left_out = f"{field.status}: {field.reason}" if field.status != "searched" else CUT if cell.border else ""
    return CountedCell(
        path=f"{FOUND}/{cell.path}",
        restained=restained,
        field=field.field,
        x=cell.x,
        y=cell.y,
        diameter_um=cell.diameter_um,
        um_per_px=_scale_of(place),
        border=cell.border,
        cluster=cell.cluster,
        score=cell.score,
        left_out=left_out,
        predicted=predicted,
        probabilities=probabilities,
        guard=verdict,
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
