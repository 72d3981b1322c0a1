"""What a first look at a field told of its scale, as a file from which a later call goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, TypeAdapter

from hemabridge.errors import RunError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import write_bytes
from hemabridge.workflows.find.search import Look

_KIND: Final = FileKind("what a first look at a field told", RunError, "remove it; the field is then looked at again")


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
