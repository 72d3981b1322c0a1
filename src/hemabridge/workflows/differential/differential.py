"""`hemabridge differential`: from a folder of fields to the share of each class of leukocytes."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from hemabridge.errors import InputError
from hemabridge.evaluation.differential_results import FILE, DifferentialResults
from hemabridge.evaluation.languages import check_language
from hemabridge.imaging.files import read_image, write_image
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import check_apart, check_outputs, hold_folder, names_in
from hemabridge.workflows.differential.count import FOUND, RESTAINED, Pictures, count_cells
from hemabridge.workflows.differential.opened import open_for_count
from hemabridge.workflows.differential.written import CELL_TABLE, REPORT, SHARE_TABLE, write_results
from hemabridge.workflows.find.find import check_fields, find

PAGE: Final = "page"
"""What the page to check the count keeps."""

LABELS: Final = "labels.csv"
"""Classes that an expert gave, as `hemabridge label --labels` reads them for the folder `FOUND`."""

HISTORY: Final = "corrections.csv"
"""Who said what of which cell, and when; answers that were taken back are kept."""

OUTPUTS: Final = (FOUND, RESTAINED, PAGE, LABELS, HISTORY, FILE, CELL_TABLE, SHARE_TABLE, REPORT)


def differential(
    model: Path,
    fields: Path,
    out: Path,
    *,
    restain: Path | None = None,
    home: Path | None = None,
    um_per_px: float | None = None,
    seed: int = 0,
    language: str = "en",
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
        language: of the report, `en` or `es`.
        progress: told of each step.

    Raises:
        ModelError: the model does not classify, or its file is damaged.
        InputError: no leukocyte was found, a folder cannot be used, there is no such language, or `out` holds other
            files.
        RunError: another process works in `out`.
    """
    check_language(language)
    check_fields(fields)
    opened = open_for_count(model, restain, home, progress)
    check_apart(out, fields)
    check_outputs(out, names_in(out) - set(OUTPUTS) if (out / FOUND).is_dir() else names_in(out))
    with hold_folder(out):
        found = find(fields, out / FOUND, um_per_px=um_per_px, progress=progress)
        if found.caution:
            progress(found.caution, 0, 0)
        if not found.cells:
            raise InputError(
                f"expected fields with leukocytes in {fields}, found none in {len(found.fields)} files; see "
                f"{out / FOUND / 'fields.csv'} for what became of each"
            )
        counted, _ = count_cells(opened, found.fields, _pictures(out), progress)
        results = replace(counted, folder=fields.resolve().name, model=model.resolve().name, seed=seed)
        with atomic_write(out / FILE) as temporary:
            temporary.write_text(results.to_json(), encoding="utf-8")
        write_results(results, out, language)
    return results


def _pictures(out: Path) -> Pictures:
    """Return the pictures in a folder."""
    return Pictures(
        lambda path: read_image(out / path), lambda path, image, mark: write_image(out / path, image, description=mark)
    )
