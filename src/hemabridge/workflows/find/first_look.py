"""A first look at a field, which tells its scale: before all scales are pooled, and as a file for a later call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, TypeAdapter

from hemabridge.errors import ImageError, RunError
from hemabridge.fields.field_image import FieldImage
from hemabridge.fields.field_scale import Scale
from hemabridge.fields.find_cells import checked_scale, remark_on_rough
from hemabridge.fields.pooled_scale import pooled_scales
from hemabridge.imaging.scale import LEAST_CELL_PX
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import write_bytes

_KIND: Final = FileKind("what a first look at a field told", RunError, "remove it; the field is then looked at again")


@dataclass(frozen=True)
class Look:
    """What a first look at a field tells, before the scales of all fields are pooled.

    Attributes:
        scale: by its own file or cells; None if they do not state it.
        remark: what else to know of it.
    """

    scale: Scale | None
    remark: str = ""

    @classmethod
    def at(cls, field: FieldImage) -> "Look":
        """Look at an open field.

        Raises:
            ImageError: the field is smaller than a cell, or a part of it cannot be read.
        """
        height, width = field.pixels.shape[:2]
        if min(height, width) < LEAST_CELL_PX:
            raise ImageError(f"expected a field, got {width} x {height} pixels; leave it out")
        return cls(*checked_scale(field))


def pooled(looks: Sequence[Look]) -> list[Look]:
    """Return the scale with which each field is searched, and all remarks on it."""
    both = zip(looks, pooled_scales([look.scale for look in looks]), strict=True)
    return [
        Look(one.scale, "; ".join(filter(None, (look.remark, one.remark, remark_on_rough(one.scale)))))
        for look, one in both
    ]


@dataclass(frozen=True)
class _Kept:
    """A look, and the key of the file and of the method from which it comes."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    key: str
    look: Look


_ADAPTER: Final = TypeAdapter(_Kept)


def write_look(look: Look, key: str, path: Path) -> None:
    """Write a look as JSON, whole or not at all."""
    write_bytes(path, _ADAPTER.dump_json(_Kept(key, look), indent=2))


def read_look(path: Path, key: str) -> Look | None:
    """Return the look of an earlier call if it has this key; else None."""
    try:
        kept = _KIND.read_as(path, _ADAPTER)
    except RunError:
        return None
    return kept.look if kept.key == key else None
