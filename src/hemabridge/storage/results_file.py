"""The base class of results that are stored as one JSON file, with a format version, and validated when read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hemabridge.errors import InputError
from hemabridge.storage.file_kind import FileKind, check_format, fault_of
from hemabridge.storage.files import expect_json_text

# Files are read strictly: no "0.5" for 0.5, no unknown keys, no NaN.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class ResultsFile:
    """Frozen results that are written as JSON and read back.

    Attributes:
        WHAT: name of the file in messages.
        FORMAT: version of the format; other versions are not read.
        AGAIN: how to make the file again, at the end of a message.
        KIND: value of the key `kind`, which distinguishes files of the same name; None if the file has no such key.
    """

    WHAT: ClassVar[str]
    FORMAT: ClassVar[int]
    AGAIN: ClassVar[str]
    KIND: ClassVar[str | None] = None

    def to_json(self) -> str:
        """Return JSON that `from_json` accepts."""
        return json.dumps({**self._head(), **asdict(self)}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON that `to_json` wrote.

        Raises:
            InputError: it is a path, or the text is not such JSON, or has another kind or format version.
        """
        expect_json_text(text, cls.WHAT, f"read a file with {cls.__name__}.read(path)", InputError)
        data = cls._kind().parse_json(text)
        wanted = cls._head()
        found = {name: data.pop(name, None) for name in wanted} if isinstance(data, dict) else {}
        if found != wanted:
            if found.get("kind") == cls.KIND:
                check_format(found.get("format"), cls.FORMAT, cls.WHAT, cls.AGAIN, InputError)
            of_kind = "" if found.get("kind") == cls.KIND else f" and kind {found.get('kind')!r}"
            raise InputError(
                f"expected {cls.WHAT} of format {cls.FORMAT}, got {found.get('format')!r}{of_kind}; {cls.AGAIN}"
            )
        try:
            return TypeAdapter(cls).validate_json(json.dumps(data))
        except ValidationError as error:
            raise InputError(f"expected {cls.WHAT}, got something else ({fault_of(error)}); {cls.AGAIN}") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            InputError: it cannot be read, is too large, or does not hold such results.
        """
        text = cls._kind().read_text(path)
        try:
            return cls.from_json(text)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def _kind(cls) -> FileKind:
        return FileKind(cls.WHAT, InputError, cls.AGAIN)

    @classmethod
    def _head(cls) -> dict[str, Any]:
        return ({} if cls.KIND is None else {"kind": cls.KIND}) | {"format": cls.FORMAT}
