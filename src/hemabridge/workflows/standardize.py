"""`hemabridge standardize`: a folder of images re-stained, file by file, nothing lost."""

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Literal

from hemabridge.errors import ImageError, InputError, ModelError
from hemabridge.imaging.files import IMAGE_SUFFIXES, atomic_write, read_image, sha256_of, write_image
from hemabridge.imaging.rescaled import RescaledStandardizer
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.progress import Progress, silent
from hemabridge.training.snapshots import list_snapshots
from hemabridge.training.stopping import hold_folder
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.neural import KIND, NeuralStandardizer

LOG = "standardized.csv"
"""Written into the output folder: one row per file found, appended as the job goes on."""

_AS_IT_IS: Final = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
"""How `LOG` is opened: names of files that are no UTF-8 come back as the same bytes."""

Status = Literal["restained", "failed", "skipped"]


@dataclass(frozen=True)
class FileRow:
    """What became of one file.

    Attributes:
        path: relative to the input folder, and of the output to the output folder.
        status: `restained`; `failed`: an image that could not be used; `skipped`: by its name no image.
        reason: why there is no output; empty if there is one.
        sha256: of the input file.
        model: SHA-256 of the snapshot.
    """

    path: str
    status: Status
    reason: str
    sha256: str
    model: str


@dataclass(frozen=True)
class Standardized:
    """All rows of one job, in the order of the paths."""

    rows: tuple[FileRow, ...]

    def count(self, status: Status) -> int:
        """Return how many files ended so."""
        return sum(row.status == status for row in self.rows)


def standardize(
    model: Path,
    source: Path,
    out: Path,
    *,
    snapshot: str | None = None,
    crop_px: int | None = None,
    progress: Progress = silent,
) -> Standardized:
    """Re-stain every image below `source` into `out`: names and tree are kept, and each file gets a row in `LOG`.

    Files that an earlier, interrupted call with the same model has done are not done again. Metadata is not copied.

    Args:
        model: a snapshot, or a run folder, of which the last snapshot is taken.
        source: a folder of images.
        out: a new or empty folder, or that of an earlier call.
        snapshot: the name of a snapshot of the run folder.
        crop_px: the square, in pixels of these images, that shows a cell as large as training saw it; the value of the
            site that the model was trained on if not given.
        progress: told of each file.

    Raises:
        InputError: a folder is missing or cannot be listed, one is within the other, or `out` holds other files.
        ModelError: no translator is there.
        RunError: another process works in `out`.
    """
    path = find_snapshot(model, snapshot)
    _check_folders(source, out)
    standardizer, model_hash = load_standardizer(path, crop_px), sha256_of(path)
    files = sorted(_files_below(source))
    with hold_folder(out):
        done = _finished(source, out, model_hash)
        rows = []
        _write_log(out / LOG, done.values())
        with (out / LOG).open("a", **_AS_IT_IS) as file:
            log = csv.DictWriter(file, COLUMNS)
            for number, name in enumerate(files, 1):
                row = done.get(name)
                if row is None:
                    row = _standardize_file(standardizer, source / name, out / name, name, model_hash)
                    log.writerow(asdict(row))
                    file.flush()
                rows.append(row)
                progress("re-staining", number, len(files))
    return Standardized(tuple(rows))


def find_snapshot(model: Path, name: str | None = None) -> Path:
    """Return the snapshot that a path means: itself, or of a run folder the named or the last one.

    Raises:
        ModelError: there is none.
    """
    if model.is_file():
        return model
    folder = next((f for f in (model, model / "translator") if (f / "snapshots").is_dir()), None)
    snapshots = [] if folder is None else list_snapshots(folder)
    if not snapshots:
        raise ModelError(f"expected a snapshot or a run folder with snapshots, got none at {model}")
    if name is None:
        return snapshots[-1].path
    named = [snapshot.path for snapshot in snapshots if snapshot.name == name]
    if not named:
        raise ModelError(f"expected one of the snapshots {', '.join(s.name for s in snapshots)}, got {name!r}")
    return named[0]


def load_standardizer(path: Path, crop_px: int | None = None) -> Standardizer:
    """Return the translator of a snapshot for images as large as they come.

    Args:
        path: the snapshot.
        crop_px: as in `standardize`.

    Raises:
        ModelError: the file is not the snapshot of a translator.
    """
    header = read_header(path)
    if header.get("kind") != KIND:
        raise ModelError(f"expected the snapshot of a translator, got that of a {header.get('kind')}: {path}")
    seen_px = TranslatorConfig.model_validate(header["config"]).crop_px
    scale = seen_px / (crop_px or header["source_crop_px"])
    return RescaledStandardizer(NeuralStandardizer.from_snapshot(path), scale)


def _standardize_file(standardizer: Standardizer, source: Path, out: Path, name: str, model: str) -> FileRow:
    if source.suffix.lower() not in IMAGE_SUFFIXES:
        return FileRow(name, "skipped", f"not the name of an image: {source.suffix or 'no suffix'}", "", model)
    try:
        image = read_image(source)
        write_image(out, standardizer.standardize(image[None])[0])
    # PyTorch tells of an image that is too small, or too large for the memory, by a RuntimeError.
    except (ImageError, OSError, RuntimeError, MemoryError) as error:
        out.unlink(missing_ok=True)  # what an earlier call made of an earlier file or model
        return FileRow(name, "failed", str(error), "", model)
    return FileRow(name, "restained", "", sha256_of(source), model)


def _write_log(path: Path, rows: Iterable[FileRow]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", **_AS_IT_IS) as file:
        log = csv.DictWriter(file, COLUMNS)
        log.writeheader()
        log.writerows(asdict(row) for row in rows)


def _finished(source: Path, out: Path, model: str) -> dict[str, FileRow]:
    """Return the rows of an earlier call that still hold: same model, same input, output in its place."""
    if not (out / LOG).is_file():
        return {}
    with (out / LOG).open(**_AS_IT_IS) as file:
        rows = [FileRow(**row) for row in csv.DictReader(file, strict=True) if _is_whole(row)]
    return {
        row.path: row
        for row in rows
        if row.status == "restained"
        and row.model == model
        and (out / row.path).is_file()
        and (source / row.path).is_file()
        and sha256_of(source / row.path) == row.sha256
    }


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the paths of all files, relative to `folder`; links to folders are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise InputError(f"expected a folder of images, got {'a file' if source.exists() else 'nothing'}: {source}")
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"expected an output folder outside of {source}, got {out}; originals are never touched")
    if out.is_file():
        raise InputError(f"expected an output folder, got a file: {out}")
