"""The count of the fields of a request, which are searched and counted in memory as `hemabridge differential` does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hemabridge.errors import ImageError
from hemabridge.evaluation.differential_results import ClassShare, DifferentialResults
from hemabridge.fields.field_scale import stated_scale
from hemabridge.fields.open_field import open_sent_field
from hemabridge.imaging.files import reason_of
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import Progress
from hemabridge.service.access import Refused
from hemabridge.service.responses import (
    ClassPercentage,
    Counted,
    FieldCell,
    FieldSettings,
    SearchedField,
    SiteVerdict,
)
from hemabridge.service.sent import Sent, SentFolder
from hemabridge.workflows.differential.count import FOUND, Pictures, count_cells
from hemabridge.workflows.differential.opened import Opened
from hemabridge.workflows.find.field_record import FieldRecord
from hemabridge.workflows.find.first_look import Look, pooled
from hemabridge.workflows.find.search import search_field

MOST_CELLS: Final = 20_000
"""Number of cells of a request: of 500 fields, 40 in each."""

LARGEST_CROPS: Final = 1_000_000_000
"""Bytes of the pictures of the cells of a request: 5,000 cells at 0.1 um per pixel."""


@dataclass(frozen=True, eq=False)
class Counting:
    """Counts the cells of the fields of a request; a request is refused if its cells would fill the memory."""

    models: Opened

    def __call__(self, sent: Sequence[Sent], settings: FieldSettings, progress: Progress) -> Counted:
        """Search the fields and count their cells.

        Raises:
            Refused: 413 if there are too many cells.
        """
        folder = SentFolder(sent, kept_bytes=0)  # each field is read once
        crops = _Crops()
        names = {path: sent[place].name for path, place in zip(folder.paths, folder.order, strict=True)}
        records = _searched_all(folder, names, crops, settings.um_per_px, progress)
        pictures = Pictures(crops.read, crops.keep)
        results, site = count_cells(self.models, records, pictures, progress)
        return _answer(replace(results, seed=settings.seed), SiteVerdict.of(site), records, folder.order, sent)


class _Crops:
    """The pictures of the cells of a request, in memory."""

    def __init__(self) -> None:
        self._images: dict[str, UInt8Image] = {}
        self._bytes = 0

    def read(self, path: str) -> UInt8Image:
        return self._images[path]

    def keep(self, path: str, image: UInt8Image, mark: str = "") -> str:
        self._bytes += image.nbytes
        if self._bytes > LARGEST_CROPS or len(self._images) >= MOST_CELLS:
            raise Refused(
                413,
                f"expected at most {MOST_CELLS:,} cells and {LARGEST_CROPS:,} bytes of their pictures in a request, "
                "got more; send fewer fields",
            )
        self._images[path] = image
        return ""


def _searched_all(
    folder: SentFolder, names: Mapping[Path, str], crops: _Crops, um_per_px: float | None, progress: Progress
) -> list[FieldRecord]:
    """Search all fields, as `hemabridge find` does: the scale of each comes from all."""
    records: dict[Path, FieldRecord] = {}
    looks: dict[Path, Look] = {}
    for path, name in names.items():
        try:
            if um_per_px is None:
                with open_sent_field(path, folder.images, name) as field:
                    looks[path] = Look.at(field)
            else:
                looks[path] = Look(stated_scale(um_per_px))
        except (ImageError, OSError, MemoryError) as error:
            records[path] = FieldRecord(path.as_posix(), "unreadable", reason_of(error, path))
    used = looks.values() if um_per_px is not None else pooled(list(looks.values()))
    for number, (path, look) in enumerate(zip(looks, used, strict=True), start=1):
        records[path] = _searched(folder, path, names[path], crops, look)
        progress("finding cells", number, len(looks))
    return [records[path] for path in names]


def _searched(folder: SentFolder, path: Path, name: str, crops: _Crops, look: Look) -> FieldRecord:
    try:
        with open_sent_field(path, folder.images, name) as field:
            own = path.as_posix()
            return search_field(own, field, look, lambda crop, image, _: crops.keep(f"{FOUND}/{crop}", image))[0]
    except (ImageError, OSError, MemoryError) as error:
        return FieldRecord(path.as_posix(), "unreadable", reason_of(error, path))


def _answer(
    results: DifferentialResults,
    site: SiteVerdict | None,
    records: Sequence[FieldRecord],
    order: Sequence[int],
    sent: Sequence[Sent],
) -> Counted:
    """Return the count in the order of the request; `order` has the place in it of each record."""
    places = {record.field: place for record, place in zip(records, order, strict=True)}
    in_order = sorted(records, key=lambda record: places[record.field])
    return Counted(
        model=results.model_sha256,
        trusted=not results.distrusted,
        site=site,
        cautions=results.cautions,
        counted=len(results.counted),
        confusion_from=results.confusion_from,
        classes=tuple(_percentage(share) for share in results.shares()),
        fields=tuple(_field(record, sent[places[record.field]].name) for record in in_order),
        cells=tuple(_cells(results, places, sent)),
    )


def _percentage(share: ClassShare) -> ClassPercentage:
    shares = {
        "percent": share.share,
        "low": share.low,
        "high": share.high,
        "counted_percent": share.raw,
        "counted_low": share.raw_low,
        "counted_high": share.raw_high,
        "of_100_low": share.of_100[0],
        "of_100_high": share.of_100[1],
        "of_200_low": share.of_200[0],
        "of_200_high": share.of_200[1],
    }
    percents = {name: 100 * value for name, value in shares.items()}
    return ClassPercentage(class_name=share.name, cells=share.counted, **percents)


def _field(record: FieldRecord, name: str) -> SearchedField:
    return SearchedField(
        name=name,
        status=record.status,
        reason=record.reason,
        remark=record.remark,
        leukocytes=len(record.cells),
        platelets=record.platelets,
        smudges=record.smudges,
        red_cells=record.red_cells,
        um_per_px=record.um_per_px,
        width=record.width,
        height=record.height,
    )


def _cells(results: DifferentialResults, places: dict[str, int], sent: Sequence[Sent]) -> Iterator[FieldCell]:
    for cell in sorted(results.cells, key=lambda cell: places[cell.field]):
        place = places[cell.field]
        yield FieldCell(
            image=place,
            field=sent[place].name,
            x=cell.x,
            y=cell.y,
            diameter_um=cell.diameter_um,
            cell_um=cell.cell_um,
            border=cell.border,
            cluster=cell.cluster,
            left_out=cell.left_out,
            predicted_class=cell.predicted,
            probability=cell.probability,
        )
