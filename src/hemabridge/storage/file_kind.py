"""Bounded readers of JSON, CSV, TOML and NumPy files, and the check of a file's format version."""

import codecs
import csv
import io
import json
import math
import tokenize
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from hemabridge.errors import HemabridgeError, RunError

LARGEST_BYTES: Final = 100_000_000
"""Largest size of a text file, in bytes."""
DEEPEST: Final = 64
"""Deepest nesting of lists and objects; results of hemabridge have about 8 levels."""
MOST_BITS: Final = 64
"""Largest size of an integer, in bits: that of NumPy, PyTorch and TOML."""

_HEADER_BYTES: Final = 16
_SHOWN: Final = 200
"""Number of characters of a parser's message that are shown."""
_SHOWN_PLACE: Final = 80

_OF_ARRAYS: Final = (
    OSError,
    ArithmeticError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
"""Errors that NumPy raises for a damaged header, which is the text of a Python dictionary."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class FileKind:
    """The expected content of a file. Its methods read such a file, and raise `error` if it is damaged.

    All sizes are limited, since a file far larger than those that hemabridge writes is damaged, or was made to stop a
    program.

    Attributes:
        what: name of the content in messages.
        error: class of the errors.
        remedy: what to do about a damaged file, at the end of the message.
        largest_bytes: largest size of a text file.
        most_bits: largest size of an integer.
    """

    what: str
    error: type[HemabridgeError] = RunError
    remedy: str = "restore the file, or remove it"
    largest_bytes: int = LARGEST_BYTES
    most_bits: int = MOST_BITS

    def damaged(self, where: Path | str | None, got: object) -> HemabridgeError:
        """Return the error that states what was found instead."""
        place = "" if where is None else f": {where}"
        return self.error(f"expected {self.what}, got {str(got)[:_SHOWN]}{place}; {self.remedy}")

    def read_text(self, path: Path, *, errors: str = "strict", utf16: bool = False) -> str:
        """Read UTF-8 text; a byte order mark at its beginning is removed.

        Args:
            path: of the file.
            errors: how to handle bytes that are not UTF-8, as in `bytes.decode`.
            utf16: whether to read UTF-16 too, as spreadsheets write it, with or without a byte order mark.

        Raises:
            HemabridgeError: `error`, if it is not a file, cannot be read, is too large or is not UTF-8.
        """
        try:
            if not path.is_file():
                raise self.damaged(path, "a folder" if path.is_dir() else "no file")
            with path.open("rb") as file:
                content = file.read(self.largest_bytes + 1)
            if len(content) > self.largest_bytes:
                raise self.damaged(path, f"more than {self.largest_bytes:,} bytes")
            return content.decode(_encoding(content) if utf16 else "utf-8-sig", errors)
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a file name with a null character
            raise self.damaged(path, error) from error

    def read_object(self, path: Path) -> dict[str, Any]:
        """Read a JSON object; see `parse_object`."""
        return self.parse_object(self.read_text(path), path)

    def read_as(self, path: Path, adapter: TypeAdapter[Value]) -> Value:
        """Read JSON that a Pydantic adapter describes.

        Raises:
            HemabridgeError: `error`, if the file holds anything else.
        """
        text = self.read_text(path)
        self.parse_json(text, path)  # checks the limits
        try:
            return adapter.validate_json(text)
        except (ValidationError, ArithmeticError, LookupError, TypeError) as error:
            raise self.damaged(path, _told(error)) from error

    def parse_object(self, text: str | bytes, where: Path | str | None = None) -> dict[str, Any]:
        """Return a JSON object of finite numbers.

        Raises:
            HemabridgeError: `error`, if the text is not JSON, holds something other than an object, NaN, an infinite
                number or an integer of more than `most_bits`, or is nested deeper than `DEEPEST`.
        """
        found = self.parse_json(text, where)
        if not isinstance(found, dict):
            raise self.damaged(where, f"{_kind_of(found)} instead of an object")
        return found

    def parse_json(self, text: str | bytes, where: Path | str | None = None) -> Any:
        """Return any JSON value, with the limits of `parse_object`."""
        return self._parsed(json.loads, text, where)

    def parse_toml(self, text: str, where: Path | str | None = None) -> dict[str, Any]:
        """Return a TOML document, with the limits of `parse_object`."""
        found: dict[str, Any] = self._parsed(tomllib.loads, text, where)
        return found

    def expect_bounded(self, value: Any, where: Path | str | None = None) -> None:
        """Make sure that parsed values are within the limits of `parse_object`.

        Raises:
            HemabridgeError: `error`, with the key, if they are not.
        """
        fault = _fault_in(value, self.most_bits)
        if fault is not None:
            raise self.damaged(where, fault)

    def parse_csv(
        self, text: str, where: Path | str | None = None, *, strict: bool = True, separator: str = ","
    ) -> list[list[str]]:
        """Return the rows of a CSV file, the header first; blank lines are skipped.

        Args:
            text: of the file.
            where: the file, for messages.
            separator: the character between the cells of a row.
            strict: whether a quote that is not closed, as a killed process leaves it, is an error.

        Raises:
            HemabridgeError: `error`, if it is not CSV, or a cell is longer than `csv.field_size_limit()`.
        """
        try:
            rows = csv.reader(io.StringIO(text, newline=""), strict=strict, delimiter=separator)
            return [row for row in rows if row]
        except csv.Error as error:
            raise self.damaged(where, error) from error

    def read_array(self, path: Path) -> NDArray[Any]:
        """Read a NumPy file; nothing is unpickled.

        Raises:
            HemabridgeError: `error`, if it is not such a file, or is incomplete.
        """
        try:
            # A header may state any shape. Mapping fails if the file is shorter, before memory is allocated.
            return np.array(np.lib.format.open_memmap(path, mode="r"))
        except _OF_ARRAYS as error:
            raise self.damaged(path, f"a damaged one ({error})") from error

    def _parsed(self, parse: Callable[[Any], Any], text: str | bytes, where: Path | str | None) -> Any:
        try:
            found = parse(text)
        except RecursionError as error:
            raise self.damaged(where, f"lists or objects nested deeper than {DEEPEST}") from error
        except ValueError as error:  # no such text, no UTF-8, or an integer of more than 4,300 digits
            raise self.damaged(where, f"something else ({error})") from error
        self.expect_bounded(found, where)
        return found


def _fault_in(value: Any, most_bits: int) -> str | None:
    """Return a description of the first value beyond the limits, or None; works without recursion."""
    waiting = [(value, "", 0)]
    while waiting:
        found, place, depth = waiting.pop()
        if isinstance(found, dict | list):
            if depth >= DEEPEST:
                return f"lists or objects nested deeper than {DEEPEST}"
            named = found.items() if isinstance(found, dict) else enumerate(found)
            waiting += [(item, f"{place}.{key}" if place else str(key), depth + 1) for key, item in named]
        elif isinstance(found, float) and not math.isfinite(found):
            return f"{found} instead of a finite number at {place or 'the beginning'}"
        elif isinstance(found, int) and found.bit_length() > most_bits:
            return f"an integer of more than {most_bits} bits at {place or 'the beginning'}"
    return None


def _kind_of(value: Any) -> str:
    kinds: Mapping[type, str] = {
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(value), "null")


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"something else ({error})"
    where, message = _first_fault(error)
    return f"something else{f' in {where}' if where else ''} ({message})"


def fault_of(error: ValidationError, whole: str = "the text") -> str:
    """Return place and message of the first fault; `whole` is the place if no part of the content is at fault.

    The place may be a key that someone else wrote: it is shortened, and what is not printable is escaped.
    """
    where, message = _first_fault(error)
    return f"{where or whole}: {message}"


def _first_fault(error: ValidationError) -> tuple[str, str]:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:_SHOWN_PLACE]
    return where if where.isprintable() else ascii(where), first["msg"]


def check_format(found: object, newest: int, what: str, again: str, error: type[Exception]) -> None:
    """Raise an error if a file has another format version than `newest`.

    Args:
        found: the value of the key `format`; for a file without it, the caller decides which version it has.
        newest: the version that is written.
        what: name of the file in messages.
        again: how to make the file again.
        error: class of the error.

    Raises:
        Exception: `error`, if it is another version; the message states what to do.
    """
    if type(found) is int and found == newest:
        return
    if type(found) is int and found > newest:
        raise error(
            f"expected {what} of format {newest}, got {found}, which a newer hemabridge wrote; update hemabridge, or "
            f"{again}"
        )
    raise error(f"expected {what} of format {newest}, got {found!r}; {again}")


def with_format(data: object, newest: int, what: str, again: str) -> object:
    """Check the format version of a JSON table; for Pydantic validators with mode `before`.

    Format 1 had the key `version = 1`, and otherwise the content of format 2. A table without either key has the newest
    format.

    Raises:
        ValueError: it has a format that is not supported.
    """
    if not isinstance(data, Mapping):
        return data
    table = dict(data)
    if "format" not in table and table.get("version") == 1:
        del table["version"]
    check_format(table.setdefault("format", newest), newest, what, again, ValueError)
    return table


def _encoding(content: bytes) -> str:
    """Return the encoding of a table; in UTF-16, every second byte of a header in ASCII is 0."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = content[:_HEADER_BYTES]
    pairs = {"utf-16-le": (head[0::2], head[1::2]), "utf-16-be": (head[1::2], head[0::2])}
    found = [name for name, (letters, zeros) in pairs.items() if zeros and all(letters) and not any(zeros)]
    return found[0] if found else "utf-8-sig"
