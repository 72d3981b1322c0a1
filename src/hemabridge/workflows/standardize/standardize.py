"""`hemabridge standardize`: a folder of images re-stained, file by file, nothing lost."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hemabridge.data.listing import LINK_OUT, LeftOut, Listing, list_images
from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.guard.verdict import Verdict
from hemabridge.imaging.files import WRITTEN_SUFFIXES, read_image, reason_of, write_image
from hemabridge.imaging.provenance import mark_of
from hemabridge.imaging.scale import check_shows_cell
from hemabridge.imaging.standardizer import Standardizer, UInt8Image
from hemabridge.models import Model, open_model
from hemabridge.models.restaining import NormalizerModel, remark_of
from hemabridge.models.site_answer import ANSWER_FILE, SiteAnswer, write_answer
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import sha256_of
from hemabridge.storage.run_folder import check_apart, check_outputs, hold_folder, names_in
from hemabridge.workflows.standardize.log import (
    COLUMNS,
    LOG,
    FileRow,
    Status,
    is_header,
    is_inside,
    log_cells,
    log_rows,
    open_log,
    read_log,
    write_log,
)


@dataclass(frozen=True)
class Standardized:
    """What became of a folder.

    Attributes:
        rows: of all files and of folders that are left out, in the order of the paths.
        site: whether the model knows the site; None if its file cannot say.
        left_out: what is no input, by its kind.
    """

    rows: tuple[FileRow, ...]
    site: SiteAnswer | None = None
    left_out: tuple[LeftOut, ...] = ()

    def count(self, status: Status) -> int:
        """Return how many files ended so."""
        return sum(row.status == status for row in self.rows)

    def count_verdict(self, verdict: Verdict) -> int:
        """Return how many files the guard said that of."""
        return sum(row.verdict == verdict for row in self.rows)


def standardize(
    model: Path,
    source: Path,
    out: Path,
    *,
    snapshot: str | None = None,
    crop_px: int | None = None,
    site: Path | None = None,
    fallback: Path | Literal["none"] | None = None,
    progress: Progress = silent,
) -> Standardized:
    """Re-stain every image below `source` into `out`: names and tree are kept, and each file gets a row in `LOG`.

    Files that an earlier, interrupted call with the same model has done are not done again. Metadata is not copied.
    Images of several folders may go to one output folder, call by call; one of the same name takes the other's place.

    Args:
        model: a snapshot, or a run folder, of which the snapshot that `hemabridge select` chose is taken, the last one
            if it was not asked; or the JSON file of a normalizer.
        source: a folder of images.
        out: a new or empty folder, or that of an earlier call.
        snapshot: the name of a snapshot of the run folder.
        crop_px: the square, in pixels of these images, that shows a cell as large as training saw it; the value of the
            site that the model was trained on if not given.
        site: a folder of images by whose appearance a target-only model re-stains; as it was trained if not given.
        fallback: what re-stains the cells that the model's guard refuses: the JSON file of a normalizer; the guard's
            own one if not given; with `none` refused cells stay as the model made them. A model that has no guard
            (`hemabridge guard`) works without.
        progress: told of each file.

    Raises:
        InputError: a folder is missing, empty or cannot be listed, one is within the other, or `out` holds other files.
        ModelError: no translator is there; the guard is damaged; there is none, and a fallback was asked for.
        RunError: another process works in `out`.
    """
    opened = open_model(model, snapshot=snapshot, crop_px=crop_px, site=site)
    return standardize_with(opened, source, out, fallback=fallback, progress=progress)


def standardize_with(
    model: Model,
    source: Path,
    out: Path,
    *,
    fallback: Path | Literal["none"] | None = None,
    progress: Progress = silent,
) -> Standardized:
    """Do what `standardize` does with a model that is open already.

    Raises:
        InputError, ModelError, RunError: as `standardize`.
    """
    _check_folders(source, out)
    listing = list_images(source)
    if not listing.images and not listing.links_out and not listing.left_out:
        raise InputError(f"expected images in {source}, got an empty folder; name the folder that holds them")
    safer = _fallback(model, fallback)
    standardizer = model.guarded(safer) or model.standardizer()
    made_by = model.identity + model.guard_identity(safer)
    with hold_folder(out):
        earlier = read_log(out)
        write_log(out / LOG, earlier.values())  # before all else: by its log a later call knows the folder
        known = write_answer(model, [source / name for name in listing.images], out, progress)
        rows = _standardize_files(standardizer, source, listing, out, earlier, made_by, progress)
    return Standardized(tuple(rows), known, listing.left_out)


def _standardize_files(
    standardizer: Standardizer,
    source: Path,
    listing: Listing,
    out: Path,
    earlier: Mapping[str, FileRow],
    made_by: str,
    progress: Progress,
) -> list[FileRow]:
    rows = []
    settled = _settled(listing, made_by)
    files = sorted({*listing.images, *settled})
    done = _finished(listing.images, source, earlier, made_by)
    others = [earlier[name] for name in sorted(earlier.keys() - set(files))]
    write_log(out / LOG, [*others, *done.values()])
    with open_log(out / LOG, "a") as file:
        log = csv.DictWriter(file, COLUMNS)
        for number, name in enumerate(files, 1):
            row = done.get(name)
            if row is None:
                row = settled.get(name) or _standardize_file(standardizer, source, out, name, made_by)
                log.writerow(log_cells(row))
                file.flush()
            rows.append(row)
            progress("re-staining", number, len(files))
    return rows


def _settled(listing: Listing, model: str) -> dict[str, FileRow]:
    """Return the rows of what is no input, and of links that no command reads."""
    skipped = {name: FileRow(name, "skipped", reason, "", model) for name, reason in listing.reasons().items()}
    return skipped | {name: FileRow(name, "failed", LINK_OUT, "", model) for name in listing.links_out}


def _standardize_file(standardizer: Standardizer, source: Path, out: Path, name: str, model: str) -> FileRow:
    original, restained = source / name, out / name
    if original.suffix.lower() not in WRITTEN_SUFFIXES:
        reason = f"expected {', '.join(sorted(WRITTEN_SUFFIXES))}, got {original.suffix}, which is read but not written"
        return FileRow(name, "failed", f"{reason}; convert the image to PNG", "", model)
    if not is_inside(restained, out):
        return FileRow(name, "failed", f"{restained.parent} is a link that leads out of {out}; remove it", "", model)
    try:
        image = read_image(original)
        check_shows_cell(image)
        made, verdict, reasons, maker = _restained(standardizer, image)
        remark = remark_of(standardizer, image, replaced=maker == "fallback")
        written = write_image(restained, made, description=mark_of(original))
        return FileRow(name, "restained", "", sha256_of(original), model, verdict, reasons, maker, written, remark)
    # PyTorch tells of an image that is too large for the memory by a RuntimeError.
    except (ImageError, OSError, RuntimeError, MemoryError) as error:
        if not restained.is_dir():
            restained.unlink(missing_ok=True)  # what an earlier call made of another file or by another model
        return FileRow(name, "failed", reason_of(error, original), "", model)


def _fallback(model: Model, fallback: Path | Literal["none"] | None) -> Normalizer | Literal["none"] | None:
    """Return what re-stains refused cells, as `Model.guarded` takes it."""
    if fallback is None or fallback == "none":
        return "none" if fallback == "none" else None
    if model.guard is None:
        raise ModelError(
            f"expected a model that has a guard, to use the fallback {fallback} for what it refuses; got {model.path} "
            "without; learn one first: hemabridge guard MODEL TARGET"
        )
    found = open_model(Path(fallback))
    if not isinstance(found, NormalizerModel):
        raise ModelError(f"expected the JSON file of a normalizer as the fallback, got a {found.kind}: {fallback}")
    return found.header


def _restained(standardizer: Standardizer, image: UInt8Image) -> tuple[UInt8Image, str, str, str]:
    """Return one re-stained image with the guard's verdict, its reasons, and who made it."""
    if not isinstance(standardizer, GuardedStandardizer):
        return standardizer.standardize(image[None])[0], "", "", "model"
    checked = standardizer.checked(image[None])
    verdict, reasons = checked.verdicts.verdicts[0], " ".join(checked.verdicts.reasons[0])
    replaced = verdict == "refuse" and standardizer.fallback is not None
    return checked.images[0], verdict, reasons, "fallback" if replaced else "model"


def _finished(files: Sequence[str], source: Path, earlier: Mapping[str, FileRow], model: str) -> dict[str, FileRow]:
    """Return the rows of earlier calls that need not be made again: same model, same input."""
    return {name: earlier[name] for name in files if name in earlier and _is_same(earlier[name], source / name, model)}


def _is_same(row: FileRow, original: Path, model: str) -> bool:
    return bool(row.output_sha256) and row.model == model and sha256_of(original) == row.sha256


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise InputError(f"expected a folder of images, got {'a file' if source.exists() else 'nothing'}: {source}")
    check_apart(out, source)
    _check_own(out)


def _check_own(out: Path) -> None:
    log = out / LOG
    own = log.is_file() and is_header(log_rows(log)[0])
    check_outputs(out, set() if own else names_in(out) - {ANSWER_FILE})  # which a stopped call of before may have left
