"""`hemabridge find`: finds and cuts out the leukocytes of a folder of fields; an interrupted call can be resumed."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from hemabridge.data.columns import reason_against_name
from hemabridge.data.index import check_listable
from hemabridge.data.listing import LeftOut, Listing, escaped, list_images, not_a_folder
from hemabridge.errors import ImageError, InputError, MissingExtraError
from hemabridge.fields.field_image import FieldImage
from hemabridge.fields.field_scale import stated_scale
from hemabridge.fields.find_cells import CROP_UM
from hemabridge.fields.open_field import FURTHER_SUFFIXES, open_field
from hemabridge.fields.overlay import draw_overlay
from hemabridge.imaging.files import reason_of, write_image
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import sha256_of
from hemabridge.storage.run_folder import check_apart, check_outputs, check_same_images, hold_folder, names_in
from hemabridge.workflows.find.field_record import FieldRecord, RecordStatus, read_valid, sha256_in, write_record
from hemabridge.workflows.find.first_look import Look, pooled, read_look, write_look
from hemabridge.workflows.find.search import CELLS, search_field
from hemabridge.workflows.find.single_cells import caution_of
from hemabridge.workflows.find.tables import SETTINGS, TABLES, is_own, write_settings, write_tables

METHOD: Final = 13
"""Version of the search; fields that an earlier version searched are searched again."""

OVERLAYS: Final = "_overlays"
"""Folder of the pictures with rings; commands that list images leave out names that begin with `_`."""

LOOKS: Final = "_scales"
"""Folder of what a first look at each field told of its scale."""

RECORDS: Final = "_records"
"""Folder of the records, one for each field, from which a later call goes on."""

LEAST_CROP_UM: Final = 5.0
"""Smallest side of a crop: less than a small lymphocyte's nucleus."""


@dataclass(frozen=True)
class Found:
    """The results for a folder of fields.

    Attributes:
        fields: one record for each file, by path.
        left_out: files that are not input images, by their kind.
        caution: that the images show single cells already; empty for fields.
    """

    fields: tuple[FieldRecord, ...]
    left_out: tuple[LeftOut, ...]
    caution: str = ""

    @property
    def cells(self) -> int:
        """Number of leukocytes."""
        return sum(len(record.cells) for record in self.fields)

    def count(self, status: RecordStatus) -> int:
        """Return the number of files with this status."""
        return sum(record.status == status for record in self.fields)


@dataclass(frozen=True)
class _Settings:
    """The settings on which the result of a field depends, besides its file."""

    um_per_px: float | None
    crop_um: float

    def key(self, seen: "_Seen", look: Look) -> str:
        told = {"file": seen.sha256, "method": METHOD, "crop_um": self.crop_um, "look": asdict(look)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Seen:
    """A field that can be read: its name, the SHA-256 of its file, and what a first look at it told."""

    name: str
    sha256: str
    look: Look


def find(
    fields: Path,
    out: Path,
    *,
    site: str | None = None,
    um_per_px: float | None = None,
    crop_um: float = CROP_UM,
    progress: Progress = silent,
) -> Found:
    """Find the leukocytes of every field below a folder, and cut them out.

    `out` gets `manifest.csv` (the crops, for every command that reads a manifest), `cells.csv` (the place, size and
    score of each crop), `fields.csv` (a row for each file), the crops in `cells/`, and a picture of each field with
    rings in `_overlays/`. Fields that an earlier, stopped call with the same settings finished are not searched again.
    The tables are written when all fields are done.

    Args:
        fields: a folder of images of whole fields; it is not changed.
        out: a new or empty folder, or that of an earlier call.
        site: name of the hospital in the manifest; the name of the folder if None.
        um_per_px: micrometers per pixel of all fields; if None, what their files state, or else their red cells.
        crop_um: side of the crops in micrometers, at least 5.
        progress: called after each field.

    Raises:
        InputError: there is no folder of images, one folder is within the other, `out` holds other files, or a setting
            is not valid.
        RunError: another process works in `out`.
    """
    settings = _checked(fields, out, um_per_px, crop_um)
    name = fields.resolve().name if site is None else site
    if reason := reason_against_name(name) or ("expected the name of a site" if not name else None):
        raise InputError(f"{reason}, got {name!r}; state the name (--site)")
    listing = _listed(fields)
    if not listing.images and not listing.links_out:
        raise InputError(
            f"expected images of fields in {fields}, got {listing.found_instead}; name the folder that holds them"
        )
    with hold_folder(out):
        _drop_others(fields, listing, out)
        write_settings(out, um_per_px=um_per_px, crop_um=crop_um, site=name)
        records = list(_search_all(fields, listing, out, settings, progress))
        records += [FieldRecord(path, "left out", reason) for path, reason in listing.reasons().items()]
        done = tuple(sorted(records, key=lambda record: record.field))
        write_tables(done, out, name)
    return Found(done, listing.left_out, caution_of(done, str(fields)))


def _listed(fields: Path) -> Listing:
    """List the images of a folder, and the files of formats that only fields have."""
    listing = list_images(fields)
    named = next((left for left in listing.left_out if left.kind == "not images by name"), None)
    if named is None:
        return listing
    further = [path for path in named.paths if PurePosixPath(path).suffix.lower() in FURTHER_SUFFIXES]
    rest = tuple(path for path in named.paths if path not in further)
    left_out = tuple(left for left in listing.left_out if left is not named)
    left_out += (LeftOut(named.kind, rest),) if rest else ()
    return replace(listing, images=tuple(sorted((*listing.images, *further))), left_out=left_out)


def check_fields(fields: Path) -> None:
    """Check that fields are given as a folder.

    Raises:
        InputError: they are not.
    """
    if not fields.is_dir():
        raise InputError(f"expected a folder of fields, got {not_a_folder(fields)}")


def _checked(fields: Path, out: Path, um_per_px: float | None, crop_um: float) -> _Settings:
    check_fields(fields)
    check_apart(out, fields)
    own = {SETTINGS, *TABLES, CELLS, OVERLAYS, LOOKS, RECORDS} if is_own(out) else set()
    check_outputs(out, names_in(out) - own)
    if not crop_um >= LEAST_CROP_UM:
        raise InputError(f"expected crop_um of at least {LEAST_CROP_UM:g} micrometers, got {crop_um:g}")
    if um_per_px is not None:
        stated_scale(um_per_px)
    return _Settings(um_per_px, crop_um)


def _search_all(
    fields: Path, listing: Listing, out: Path, settings: _Settings, progress: Progress
) -> Iterator[FieldRecord]:
    """Yield the record of each image; the tables of an earlier call are removed before the first change.

    All fields are looked at before the first one is searched, since the scale of each comes from all.
    """
    names = sorted(listing.images + listing.links_out)
    seen = []
    for number, name in enumerate(names, start=1):
        found = _look(fields, name, out, settings.um_per_px)
        if isinstance(found, FieldRecord):
            yield found
        else:
            seen.append(found)
        progress("measuring the scale", number, len(names))
    looks = [one.look for one in seen] if settings.um_per_px is not None else pooled([one.look for one in seen])
    for number, (one, look) in enumerate(zip(seen, looks, strict=True), start=1):
        yield _search(fields, one, look, out, settings)
        progress("finding cells", number, len(seen))


def _look(fields: Path, name: str, out: Path, um_per_px: float | None) -> _Seen | FieldRecord:
    """Look at a field for its scale, or return why it cannot be read."""
    try:
        check_listable(fields, name)
    except ImageError as error:
        return FieldRecord(escaped(name), "unreadable", str(error))
    file = fields / name
    try:
        sha256 = sha256_of(file)
        if um_per_px is not None:
            return _Seen(name, sha256, Look(stated_scale(um_per_px)))
        kept, key = out / LOOKS / f"{name}.json", f"{METHOD} {sha256}"
        look = read_look(kept, key)
        if look is None:
            with open_field(file) as field:
                look = Look.at(field)
            write_look(look, key, kept)
    except (ImageError, MissingExtraError, OSError, MemoryError) as error:
        return FieldRecord(name, "unreadable", reason_of(error, file))
    return _Seen(name, sha256, look)


def _search(fields: Path, seen: _Seen, look: Look, out: Path, settings: _Settings) -> FieldRecord:
    name, key = seen.name, settings.key(seen, look)
    file, record_file = fields / name, out / RECORDS / f"{name}.json"
    try:
        earlier = read_valid(record_file, out, key)
        if earlier is not None:
            return earlier
        _forget(out, name)
        with open_field(file) as field:
            record = _searched(seen, field, look, out, settings)
    except (ImageError, MissingExtraError, OSError, MemoryError) as error:
        return FieldRecord(name, "unreadable", reason_of(error, file))
    write_record(record, record_file)
    return record


def _searched(seen: _Seen, field: FieldImage, look: Look, out: Path, settings: _Settings) -> FieldRecord:
    """Search a field; write its crops and the picture with rings, and return its record."""

    def keep(path: str, image: UInt8Image, mark: str = "") -> str:
        return write_image(out / path, image, description=mark)

    record, found = search_field(seen.name, field, look, keep, crop_um=settings.crop_um)
    overlay = f"{OVERLAYS}/{seen.name}.png"
    return replace(
        record,
        key=settings.key(seen, look),
        sha256=seen.sha256,
        overlay=overlay,
        overlay_sha256=keep(overlay, draw_overlay(field.pixels, found)),
    )


def _drop_others(fields: Path, listing: Listing, out: Path) -> None:
    """Remove what an earlier call wrote for fields that are no longer there, so that `cells` holds no others.

    Raises:
        InputError: none of the fields of the earlier call is there.
    """
    records = out / RECORDS
    names = [path.relative_to(records).as_posix().removesuffix(".json") for path in records.rglob("*.json")]
    check_same_images(fields, out, {name: sha256_in(records / f"{name}.json") for name in names})
    for name in set(names).difference(listing.images, listing.links_out):
        _forget(out, name)
        for path in (out / OVERLAYS / f"{name}.png", out / LOOKS / f"{name}.json"):
            path.unlink(missing_ok=True)


def _forget(out: Path, name: str) -> None:
    """Remove the files of an earlier call for a field, the record first, and the tables, which list it."""
    for path in (out / RECORDS / f"{name}.json", *(out / table for table in TABLES)):
        path.unlink(missing_ok=True)
    shutil.rmtree(out / CELLS / name, ignore_errors=True)
