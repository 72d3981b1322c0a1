"""One image of `hemabridge standardize`: what is done with it in every job, in one process or on many machines."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.errors import ImageError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.decoding import Decoded
from hemabridge.imaging.derived_dicom import Derivation, derived_dicom
from hemabridge.imaging.dicom import DICOM_SUFFIXES
from hemabridge.imaging.files import WRITTEN_SUFFIXES, encoded_image, read_file, reason_of
from hemabridge.imaging.found_scale import FoundScale, read_scale, scale_in
from hemabridge.imaging.provenance import mark_in, mark_of
from hemabridge.imaging.scale import check_shows_cell
from hemabridge.imaging.standardizer import Standardizer, UInt8Image
from hemabridge.imaging.threads import alone_if_large
from hemabridge.models.restaining import Standardizers, remark_of, restained_with_remark
from hemabridge.storage.files import sha256_of, write_bytes
from hemabridge.workflows.standardize.log import LOG, FileRow, is_inside

# PyTorch raises a RuntimeError for an image that is too large for the memory.
FAILURES: Final = (ImageError, OSError, RuntimeError, MemoryError)
"""Errors of one image, which stop no other."""


@dataclass(frozen=True, eq=False)
class OneImage:
    """Re-stains one file of a folder into another folder.

    Attributes:
        standardizers: re-stain.
        source: folder of the images.
        out: folder of the results.
        made_by: identity of model, guard and fallback.
        check: for whole fields.
        keep_identity: whether DICOM files get patient and study of their source.
        inside: whether folders of results lie within `out`, as far as it is known.
    """

    standardizers: Standardizers
    source: Path
    out: Path
    made_by: str
    check: FieldCheck
    keep_identity: bool = False
    inside: dict[Path, bool] = field(default_factory=dict, repr=False)

    def maker_of(self, name: str) -> str:
        """Return what the column `model` of the log says for a file."""
        return maker_of(self.made_by, name, self.keep_identity)

    def __call__(self, name: str) -> FileRow:
        """Re-stain a file; return its row of the log. An error of the file is the reason in its row."""
        original, restained, model = self.source / name, self.out / name, self.maker_of(name)
        if reason := reason_against_suffix(original):
            return FileRow(name, "failed", reason, "", model)
        if not self._is_inside(restained.parent):
            reason = f"{restained.parent} is a link that leads out of {self.out}; remove it"
            return FileRow(name, "failed", reason, "", model)
        try:
            decoded, held = read_file(original)
            scale = read_scale(original) if held is None else scale_in(held)
            made = restain(self.standardizers, decoded, scale, self.check, original)
            origin = mark_of(original) if held is None else mark_in(held)
            mark = description_of(origin, scale, original)
            content = encoded_like(original, made, mark, original.read_bytes, self.made_by, self.keep_identity)
            write_bytes(restained, content, sync=False)  # `LogAppender` waits for the disk
            written = hashlib.sha256(content).hexdigest()
            sha256 = sha256_of(original) if held is None else hashlib.sha256(held).hexdigest()
            return FileRow(name, "restained", "", sha256, model, output_sha256=written, **made.columns)
        except FAILURES as error:
            if not restained.is_dir():
                restained.unlink(missing_ok=True)  # output of an earlier call from another file or model
            return FileRow(name, "failed", reason_of(error, original), "", model)

    def _is_inside(self, folder: Path) -> bool:
        """Return whether a folder of outputs lies within `out`; each is resolved once."""
        if folder not in self.inside:
            self.inside[folder] = is_inside(folder / LOG, self.out)
        return self.inside[folder]


@dataclass(frozen=True, eq=False)
class Restained:
    """A re-stained image, uint8[H, W, 3], and what the columns of the log say of it (see `FileRow`)."""

    image: UInt8Image
    remark: str
    verdict: str
    verdict_reasons: str
    restained_by: str

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the log, by name."""
        names = ("remark", "verdict", "verdict_reasons", "restained_by")
        return {name: getattr(self, name) for name in names}


def restain(
    standardizers: Standardizers, decoded: Decoded, scale: FoundScale | None, check: FieldCheck, path: Path
) -> Restained:
    """Re-stain the decoded image of a path, whose file states `scale`, as `standardize` does.

    Raises:
        ImageError: it shows no cell, or cannot be re-stained. Other errors of `FAILURES` are those of the model.
    """
    image = np.ascontiguousarray(decoded.pixels)
    check_shows_cell(image)
    with alone_if_large(*image.shape[:2]):
        made, remark, verdict, reasons, maker = _restained(standardizers.at(scale), image)
    remark = "; ".join(filter(None, (*decoded.remarks(), check.remark(image, path, scale), remark)))
    return Restained(made, remark, verdict, reasons, maker)


def encoded_like(
    path: Path, made: Restained, mark: str, original: Callable[[], bytes], made_by: str, keep_identity: bool = False
) -> bytes | memoryview:
    """Return the bytes of the file for a re-stained image, in the format of its suffix.

    A DICOM file is derived from its source. Other formats get no metadata but the mark.

    Args:
        path: its suffix states the format; for messages.
        made: the image.
        mark: of a synthetic image (`hemabridge.imaging.provenance`), or of a crop's scale; empty without either.
        original: returns the bytes of the file that was re-stained.
        made_by: identity of model, guard and fallback.
        keep_identity: whether a DICOM file gets patient and study of its source.

    Raises:
        ImageError: the image cannot be written in this format, or is not derived from such a file.
    """
    if path.suffix.lower() not in DICOM_SUFFIXES:
        return encoded_image(path, made.image, description=mark)
    by = "the fallback of the guard of a model" if made.restained_by == "fallback" else "a model"
    what = f"Colors changed into those of another site by {by}; not the colors that were acquired."
    return derived_dicom(original(), made.image, Derivation(made_by, what, mark, keep_identity), str(path))


def description_of(origin: str, scale: FoundScale | None, path: Path) -> str:
    """Return what the file of a re-stained image says besides its pixels.

    Args:
        origin: the mark of a synthetic image, empty for a real one.
        scale: of a crop of `hemabridge find`; None of other images.
        path: of the file.
    """
    is_kept = scale is not None and path.suffix.lower() == ".png"
    return " ".join(filter(None, (origin, scale.mark if scale is not None and is_kept else "")))


def maker_of(made_by: str, name: str, keep_identity: bool) -> str:
    """Return the identity of what made a file, as the column `model` of the log has it."""
    is_dicom = Path(name).suffix.lower() in DICOM_SUFFIXES
    return made_by + (" with identity" if is_dicom and keep_identity else "")


def reason_against_suffix(path: Path) -> str:
    """Return why an image of that suffix cannot be written; empty if it can."""
    written = WRITTEN_SUFFIXES | DICOM_SUFFIXES
    if path.suffix.lower() in written:
        return ""
    reason = f"expected {', '.join(sorted(written))}, got {path.suffix}, which is read but not written"
    return f"{reason}; convert the image to PNG"


def _restained(standardizer: Standardizer, image: UInt8Image) -> tuple[UInt8Image, str, str, str, str]:
    """Return one re-stained image, a remark, the guard's verdict and its reasons, and `model` or `fallback`."""
    if not isinstance(standardizer, GuardedStandardizer):
        return *restained_with_remark(standardizer, image), "", "", "model"
    checked = standardizer.checked(image[None])
    verdict, reasons = checked.verdicts.verdicts[0], " ".join(checked.verdicts.reasons[0])
    replaced = verdict == "refuse" and standardizer.fallback is not None
    remark = remark_of(standardizer, image, replaced=replaced)
    return checked.images[0], remark, verdict, reasons, "fallback" if replaced else "model"
