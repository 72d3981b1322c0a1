"""`hemabridge standardize`: re-stains a folder of images, file by file; an interrupted call can be resumed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hemabridge.data.listing import LINK_OUT, LeftOut, Listing, list_images, not_a_folder
from hemabridge.engines import LOCAL, TASK_ITEMS, Engine
from hemabridge.errors import InputError, ModelError, RunError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.guard.verdict import Verdict
from hemabridge.imaging.threads import thread_count
from hemabridge.models import Model, open_model
from hemabridge.models.restaining import NormalizerModel, Standardizers
from hemabridge.models.site_answer import ANSWER_FILE, SiteAnswer, write_answer
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import sha256_of
from hemabridge.storage.run_folder import check_apart, check_outputs, check_same_images, hold_folder, names_in
from hemabridge.workflows.standardize.log import (
    LOG,
    FileRow,
    LogAppender,
    Status,
    is_header,
    log_rows,
    read_log,
    write_log,
)
from hemabridge.workflows.standardize.one_image import OneImage


@dataclass(frozen=True)
class Standardized:
    """The results for a folder.

    Attributes:
        rows: of all files and of skipped folders, in the order of their paths.
        site: whether the site is in-distribution for the model; None if the model has no site profile.
        left_out: files that are not input images, by their kind.
    """

    rows: tuple[FileRow, ...]
    site: SiteAnswer | None = None
    left_out: tuple[LeftOut, ...] = ()

    def count(self, status: Status) -> int:
        """Return the number of files with this status."""
        return sum(row.status == status for row in self.rows)

    def count_verdict(self, verdict: Verdict) -> int:
        """Return the number of files with this verdict of the guard."""
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
    keep_identity: bool = False,
    progress: Progress = silent,
) -> Standardized:
    """Re-stain every image below `source` into `out`; names and folders are kept, and each file gets a row in `LOG`.

    Files that an earlier, interrupted call with the same model finished are not done again. Metadata is not copied; a
    DICOM file refers to its source.
    Images of several folders may go to one output folder, in several calls; an image of the same name is replaced.

    Args:
        model: a snapshot; a run folder, whose snapshot chosen by `hemabridge select`, or else the last one, is used; or
            the JSON file of a normalizer.
        source: a folder of images.
        out: a new or empty folder, or that of an earlier call.
        snapshot: the name of a snapshot of the run folder.
        crop_px: side of the square around a cell, in pixels of these images, at the scale of the training; if not
            given, that of the site that the model was trained on.
        site: a folder of images of the site that a target-only model re-stains; as in its training if not given.
        fallback: re-stains the cells that the model's guard refuses: the JSON file of a normalizer; the guard's own
            fallback if not given; with `none`, refused cells keep the model's output. A model without a guard
            (`hemabridge guard`) re-stains all cells.
        keep_identity: whether DICOM files get patient, study and specimen of their source.
        progress: called after each file.

    Raises:
        InputError: a folder is missing, empty or cannot be listed, one is within the other,
            or `out` holds other files or results of other images.
        ModelError: there is no model; its guard is damaged; or a fallback is given and there is no guard.
        RunError: another process works in `out`.
    """
    opened = open_model(model, snapshot=snapshot, crop_px=crop_px, site=site)
    return standardize_with(opened, source, out, fallback=fallback, keep_identity=keep_identity, progress=progress)


def standardize_with(
    model: Model,
    source: Path,
    out: Path,
    *,
    fallback: Path | Literal["none"] | None = None,
    keep_identity: bool = False,
    engine: Engine = LOCAL,
    progress: Progress = silent,
) -> Standardized:
    """Do the same as `standardize`, with a model that is already open, and by an engine.

    The rows of the log, which this process writes, and the files are the same for every engine.

    Raises:
        InputError, ModelError, RunError: as for `standardize`.
    """
    model = model.restaining
    _check_folders(source, out)
    listing = list_images(source)
    if not listing.images and not listing.links_out and not listing.left_out:
        raise InputError(f"expected images in {source}, got an empty folder; name the folder that holds them")
    safer = _fallback(model, fallback)
    made_by = model.identity + model.guard_identity(safer)
    make = _Job(replace(model), safer, source, out, made_by, FieldCheck(), keep_identity)
    work = make.work_of(model)  # a damaged file is refused before anything is written
    with hold_folder(out):
        earlier = read_log(out)
        replaced = {name: row.sha256 for name, row in earlier.items() if name in listing.images}
        check_same_images(source, out, replaced)  # images of other names join those of an earlier call
        write_log(out / LOG, earlier.values())  # first of all: a later call recognizes the folder by its log
        known = write_answer(model, [source / name for name in listing.images], out, progress)
        is_pooled = isinstance(model, NormalizerModel) and len(listing.images) > 1
        threads = thread_count() if is_pooled else 1  # a network uses all cores by itself
        check = FieldCheck.of([source / name for name in listing.images])
        if warning := check.warning(str(source)):
            progress(warning, 0, 0)
        make, work = replace(make, check=check), replace(work, check=check)
        rows = _standardize_files(
            work, lambda names: engine.in_order(work, make, names, threads, TASK_ITEMS), listing, earlier, progress
        )
    return Standardized(tuple(rows), known, listing.left_out)


@dataclass(frozen=True, eq=False)
class _Job:
    """Makes the work on one image in any process: the model travels with it, without what it has loaded."""

    model: Model
    fallback: Normalizer | Literal["none"] | None
    source: Path
    out: Path
    made_by: str
    check: FieldCheck
    keep_identity: bool

    def __call__(self) -> OneImage:
        """Return the work, in another process.

        Raises:
            RunError: the guard that lies beside the model's file is missing there.
        """
        if self.model.identity + self.model.guard_identity(self.fallback) != self.made_by:
            raise RunError(
                f"expected the guard beside {self.model.path} on each machine, got none or another; put the model and "
                "its guard into a folder that all machines see"
            )
        return self.work_of(self.model)

    def work_of(self, model: Model) -> OneImage:
        """Return the work by a model."""
        standardizers = Standardizers(model, self.fallback)
        return OneImage(standardizers, self.source, self.out, self.made_by, self.check, self.keep_identity)


def _standardize_files(
    work: OneImage,
    in_order: Callable[[Sequence[str]], Iterator[FileRow]],
    listing: Listing,
    earlier: Mapping[str, FileRow],
    progress: Progress,
) -> list[FileRow]:
    settled = _settled(listing, work)
    files = sorted({*listing.images, *settled})
    done = _finished(listing, work, earlier)
    others = [earlier[name] for name in sorted(earlier.keys() - set(files))]
    write_log(work.out / LOG, [*others, *done.values()])
    made = in_order([name for name in files if name not in done and name not in settled])
    rows = []
    with LogAppender(work.out) as log:
        for name in files:
            row = done.get(name) or settled.get(name) or next(made)
            if name not in done:
                log.add(row)
            rows.append(row)
            progress("re-staining", len(rows), len(files))
    return rows


def _settled(listing: Listing, work: OneImage) -> dict[str, FileRow]:
    """Return the rows of files that are not input images, and of links that are not followed."""
    model = work.made_by
    skipped = {name: FileRow(name, "skipped", reason, "", model) for name, reason in listing.reasons().items()}
    return skipped | {name: FileRow(name, "failed", LINK_OUT, "", model) for name in listing.links_out}


def _fallback(model: Model, fallback: Path | Literal["none"] | None) -> Normalizer | Literal["none"] | None:
    """Return the fallback for refused cells, as `Model.guarded` takes it."""
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


def _finished(listing: Listing, work: OneImage, earlier: Mapping[str, FileRow]) -> dict[str, FileRow]:
    """Return the rows of earlier calls that are still valid: same model, same input."""
    return {name: earlier[name] for name in listing.images if name in earlier and _is_same(earlier[name], work)}


def _is_same(row: FileRow, work: OneImage) -> bool:
    is_same_maker = bool(row.output_sha256) and row.model == work.maker_of(row.path)
    return is_same_maker and sha256_of(work.source / row.path) == row.sha256


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise InputError(f"expected a folder of images, got {not_a_folder(source)}")
    check_apart(out, source)
    _check_own(out)


def _check_own(out: Path) -> None:
    log = out / LOG
    own = log.is_file() and is_header(log_rows(log)[0])
    check_outputs(out, set() if own else names_in(out) - {ANSWER_FILE})  # which a stopped call of before may have left
