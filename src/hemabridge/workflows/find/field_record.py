"""The record of one searched field: a later call resumes from it, and the tables are written from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from hemabridge.errors import RunError
from hemabridge.fields.find_cells import FieldStatus
from hemabridge.fields.sharpness import reason_blurred
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import sha256_of, write_bytes

FORMAT: Final = 2
"""Version of the records."""

RecordStatus: TypeAlias = FieldStatus | Literal["unreadable", "left out"]
"""Status of a file: `FieldStatus`; `unreadable`; `left out`: no input image."""

_Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class CellRecord:
    """A leukocyte that was cut out: its crop, with hash and side in pixels, and the attributes of `Leukocyte`.

    `edge_um` is the width of the edge of its nucleus in micrometers; None if the crop alone shows none. `cell_um`: the
    diameter of the whole cell; None if the border cuts it.
    """

    __pydantic_config__ = _STRICT

    path: str
    sha256: _Sha256
    side_px: int
    x: float
    y: float
    diameter_um: float
    score: float
    border: bool
    cluster: bool
    edge_um: float | None
    cell_um: float | None

    @property
    def blurred(self) -> str:
        """Why the cell is too blurred for a certain class; empty if it is not."""
        return reason_blurred(self.edge_um)


@dataclass(frozen=True)
class FieldRecord:
    """The result for one file.

    Attributes:
        field: path of the file relative to the folder of fields.
        status, reason: its status, and why it is not `searched`.
        remark: what else to know of it, such as a scale in the file that cannot be right.
        key: hash of the file and of all settings that the result depends on; empty if it could not be read.
        sha256: of the file; empty if it could not be read.
        width, height: in pixels; None if it could not be read.
        um_per_px, um_per_px_low, um_per_px_high: the scale and its 95 % interval; None if it is unknown.
        scale_from: `red cells`, `nuclei`, `stated` or `file`; empty if it is unknown.
        scale_cells: number of cells that the scale comes from.
        platelets, clumps, smudges, debris: number of such objects.
        red_cells: about how many.
        covered: share of the area that cells cover, 0..1.
        edge_um: width of the edges of cells in micrometers.
        overlay: path of the picture with rings, relative to the output folder; empty if there is none.
        overlay_sha256: its hash.
        cells: the leukocytes.
    """

    __pydantic_config__ = _STRICT

    field: str
    status: RecordStatus
    reason: str = ""
    remark: str = ""
    key: str = ""
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    um_per_px: float | None = None
    um_per_px_low: float | None = None
    um_per_px_high: float | None = None
    scale_from: str = ""
    scale_cells: int = 0
    platelets: int = 0
    clumps: int = 0
    smudges: int = 0
    debris: int = 0
    red_cells: int | None = None
    covered: float | None = None
    edge_um: float | None = None
    overlay: str = ""
    overlay_sha256: str = ""
    cells: tuple[CellRecord, ...] = ()

    @property
    def border(self) -> int:
        """Number of leukocytes that the border of the field cuts."""
        return sum(cell.border for cell in self.cells)

    @property
    def blurred(self) -> int:
        """Number of leukocytes that are too blurred for a certain class."""
        return sum(bool(cell.blurred) for cell in self.cells)

    @property
    def cluster(self) -> int:
        """Number of leukocytes that touch another one."""
        return sum(cell.cluster for cell in self.cells)


_ADAPTER: Final = TypeAdapter(FieldRecord)
_KIND: Final = FileKind("the record of a field", RunError, "remove it; the field is then searched again")


def write_record(record: FieldRecord, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    write_bytes(path, _ADAPTER.dump_json(record, indent=2))


def read_valid(path: Path, out: Path, key: str) -> FieldRecord | None:
    """Return the record of an earlier call if it has this key and all its pictures are as written; else None."""
    try:
        record = _KIND.read_as(path, _ADAPTER)
    except RunError:
        return None
    pictures = [(cell.path, cell.sha256) for cell in record.cells]
    pictures += [(record.overlay, record.overlay_sha256)] if record.overlay else []
    whole = record.key == key and all(_is_as_written(out / name, sha256) for name, sha256 in pictures)
    return record if whole else None


def sha256_in(path: Path) -> str:
    """Return the hash of the field that a record is of; empty if the record is damaged."""
    try:
        return _KIND.read_as(path, _ADAPTER).sha256
    except RunError:
        return ""


def _is_as_written(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256
