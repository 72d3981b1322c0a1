"""`hemabridge differential`: from a folder of fields to the share of each class of leukocytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from hemabridge.data.sampling import evenly_spaced
from hemabridge.errors import InputError
from hemabridge.evaluation.differential_results import CUT, FILE, CountedCell, CountedField, DifferentialResults
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.scale import resize_square
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.site_answer import SiteAnswer, answer_for
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import check_apart, check_outputs, hold_folder, names_in
from hemabridge.workflows.differential.opened import Opened, open_for_count
from hemabridge.workflows.differential.written import CELL_TABLE, REPORT, SHARE_TABLE, write_results
from hemabridge.workflows.find.field_record import CellRecord, FieldRecord
from hemabridge.workflows.find.find import Found, find

FOUND: Final = "found"
"""Folder of the results of `hemabridge find`."""

RESTAINED: Final = "restained"
"""Re-stained pictures of the cells, under the names of the originals in `FOUND`."""

PAGE: Final = "page"
"""What the page to check the count keeps."""

LABELS: Final = "labels.csv"
"""Classes that an expert gave, as `hemabridge label --labels` reads them for the folder `FOUND`."""

HISTORY: Final = "corrections.csv"
"""Who said what of which cell, and when; answers that were taken back are kept."""

OUTPUTS: Final = (FOUND, RESTAINED, PAGE, LABELS, HISTORY, FILE, CELL_TABLE, SHARE_TABLE, REPORT)

SCALED_CELLS: Final = 200
"""Largest number of cells from which the side of the square around a cell is estimated."""

BATCH: Final = 32
"""Number of cells that are in memory at once."""


@dataclass(frozen=True)
class _Place:
    """A cell and the field in which it was found."""

    field: FieldRecord
    cell: CellRecord


def differential(
    model: Path,
    fields: Path,
    out: Path,
    *,
    restain: Path | None = None,
    home: Path | None = None,
    um_per_px: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> DifferentialResults:
    """Find, re-stain, classify and count the leukocytes of every field below a folder.

    Writes `differential.csv`, `cells.csv`, `report.html` and `differential.json`; `found` holds what `hemabridge find`
    writes, and `restained` the re-stained cells. Cells of a field that is empty, blurred, over-crowded or of unknown
    scale are not counted, nor are cells that the border cuts. Cells that touch others are counted. A call that was
    stopped does not search again in fields that are done.

    Args:
        model: a run folder of `hemabridge adapt`, the folder of a study, or a classifier.
        fields: a folder of images of whole fields of one patient.
        out: a new or empty folder, or that of an earlier call.
        restain: a model that re-stains the cells before a classifier sees them.
        home: labeled cells that the classifier was not trained on, for its confusion; else what the model states.
        um_per_px: micrometers per pixel of all fields; estimated for each if None.
        seed: of the posterior draws.
        progress: told of each step.

    Raises:
        ModelError: the model does not classify, or its file is damaged.
        InputError: no leukocyte was found, a folder cannot be used, or `out` holds other files.
        RunError: another process works in `out`.
    """
    opened = open_for_count(model, restain, home, progress)
    check_apart(out, fields)
    check_outputs(out, names_in(out) - set(OUTPUTS) if (out / FOUND).is_dir() else names_in(out))
    with hold_folder(out):
        found = find(fields, out / FOUND, um_per_px=um_per_px, progress=progress)
        counted = _counted_cells(opened, found, fields, out, progress)
        results = replace(counted, model=model.resolve().name, seed=seed)
        with atomic_write(out / FILE) as temporary:
            temporary.write_text(results.to_json(), encoding="utf-8")
        write_results(results, out)
    return results


def _counted_cells(opened: Opened, found: Found, fields: Path, out: Path, progress: Progress) -> DifferentialResults:
    """Classify the found cells."""
    places = [_Place(field, cell) for field in found.fields for cell in field.cells]
    if not places:
        raise InputError(
            f"expected fields with leukocytes in {fields}, found none in {len(found.fields)} files; see "
            f"{out / FOUND / 'fields.csv'} for what became of each"
        )
    scale = float(np.median([_scale_of(place) for place in places]))
    models = opened.at_scale_of([_read(out, place, scale) for place in _spread(places)])
    cells = tuple(_named(places, models, scale, out, progress))
    answer = _site_answer(models, places, cells, scale, out, progress)
    return DifferentialResults(
        folder=fields.resolve().name,
        model=models.classifier.path.name,
        model_sha256=models.classifier.sha256,
        restained_by="" if models.restainer is None else models.restainer.path.name,
        classes=models.classifier.classes,
        cells=cells,
        fields=tuple(_field_row(field) for field in found.fields if field.status != "left out"),
        confusion=models.confusion,
        confusion_from=models.confusion_from,
        site="" if answer is None else answer.answer,
        site_fact="" if answer is None else answer.fact,
        seed=0,
    )


def _spread(places: Sequence[_Place]) -> list[_Place]:
    """Return cells, evenly spaced, that the border does not cut; if all are cut, any."""
    whole = [place for place in places if not place.cell.border] or list(places)
    return [whole[row] for row in evenly_spaced(len(whole), SCALED_CELLS, ends=True)]


def _site_answer(
    models: Opened,
    places: Sequence[_Place],
    cells: Sequence[CountedCell],
    scale: float,
    out: Path,
    progress: Progress,
) -> SiteAnswer | None:
    """Return how far the pictures that the classifier sees are from those of its training."""
    if models.reads_restained:
        return answer_for(models.classifier, [out / cell.restained for cell in cells], progress)
    by_file = {out / cell.path: place for cell, place in zip(cells, places, strict=True)}
    return answer_for(models.classifier, list(by_file), progress, lambda file: _read(out, by_file[file], scale))


def _scale_of(place: _Place) -> float:
    assert place.field.um_per_px is not None  # a field with cells has a scale
    return place.field.um_per_px


def _read(out: Path, place: _Place, um_per_px: float) -> UInt8Image:
    """Return the picture of a cell, resized to a number of micrometers per pixel that all cells share."""
    image = read_image(out / FOUND / place.cell.path)
    side = max(8, round(image.shape[0] * _scale_of(place) / um_per_px))
    return image if side == image.shape[0] else resize_square(image, side)


def _named(
    places: Sequence[_Place], models: Opened, scale: float, out: Path, progress: Progress
) -> Iterator[CountedCell]:
    """Re-stain and classify cells; yield them in their order."""
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        images = [_read(out, place, scale) for place in batch]
        checked = [models.restain(image) for image in images]
        found = models.classify(images, [restained for restained, _ in checked])
        rows = zip(batch, checked, found.predicted, found.probabilities.tolist(), strict=True)
        for place, (restained, verdict), predicted, probabilities in rows:
            path = ""
            if restained is not None:
                path = PurePosixPath(RESTAINED, *PurePosixPath(place.cell.path).parts[1:]).as_posix()
                write_image(out / path, restained)
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
