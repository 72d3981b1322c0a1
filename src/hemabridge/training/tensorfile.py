"""Tensors and a JSON header in one safetensors file, written atomically.

Importing this module, and reading a header, needs no PyTorch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from hemabridge.errors import ModelError
from hemabridge.storage.file_kind import FileKind, fault_of
from hemabridge.storage.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

HEADER: Final = "hemabridge"
"""The key of the JSON header in the metadata of the file."""

FORMAT: Final = 1
"""Version of the headers that are written. Headers of version 0 have no key `format`."""

_LENGTH_BYTES: Final = 8
_MOST_HEADER_BYTES: Final = 100_000_000
_KIND: Final = FileKind("a whole safetensors file", ModelError, "take another copy of the file, or train it again")


class Header(BaseModel):
    """The header of a snapshot. Each kind of snapshot has a subclass beside the class that writes it.

    Attributes:
        format: version of the header.
        kind: what the tensors are, such as `translator` or `classifier`.
        images: images that the training had seen.
        epoch: the same number in epochs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = FORMAT
    kind: str
    images: int = 0
    epoch: float = 0.0

    @classmethod
    def of(cls, header: Mapping[str, Any], path: Path) -> Self:
        """Check a header that `read_header` or `parse_header` returned.

        Raises:
            ModelError: a newer hemabridge wrote it, it is of another kind, or something in it is missing or wrong.
        """
        version = header.get("format", 0)
        if version not in (0, FORMAT):
            raise ModelError(
                f"expected a header of format {FORMAT} or older, got {version!r}: {path}; a newer hemabridge wrote the "
                "file, update this one"
            )
        wanted = cls.model_fields["kind"].default
        if isinstance(wanted, str) and header.get("kind") != wanted:
            raise ModelError(f"expected the snapshot of a {wanted}, got that of a {header.get('kind')}: {path}")
        try:
            return cls.model_validate({**header, "format": FORMAT})
        except ValidationError as error:
            raise ModelError(
                f"expected the whole snapshot of a {header.get('kind')}, got a damaged one: {path} (in "
                f"{fault_of(error)}); if an older hemabridge wrote it, train it again"
            ) from error

    def as_json(self) -> dict[str, Any]:
        """Return the table that is written."""
        return self.model_dump(mode="json")


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header; the file appears whole or not at all."""
    content = tensor_content(tensors, header)
    with atomic_write(path) as temporary:
        # save_file would write files that only their owner may read.
        temporary.write_bytes(content)


def tensor_content(tensors: "Mapping[str, Tensor]", header: Mapping[str, Any]) -> bytes:
    """Return the content of a file of tensors and a JSON header."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return save(whole, {HEADER: json.dumps(header)})


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header alone.

    Raises:
        ModelError: the file does not exist, is not a safetensors file, or was not written by hemabridge.
    """
    if not path.is_file():
        raise ModelError(f"expected a safetensors file, got nothing: {path} does not exist")
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            text = file.read(length) if length <= _MOST_HEADER_BYTES else b""
    except OSError as error:
        raise ModelError(f"expected a whole safetensors file, got a damaged one: {path} ({error})") from error
    return parse_header(start + text, path)


def parse_header(content: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON header from the beginning of a file, or from its whole content; errors state `path`.

    Raises:
        ModelError: it is not a safetensors file, or was not written by hemabridge.
    """
    header = parse_metadata(content, path).get(HEADER)
    if header is None:
        raise ModelError(f"expected a file that hemabridge wrote, got another safetensors file: {path}")
    if not isinstance(header, str):
        raise _KIND.damaged(path, "a damaged one, with a header that is no text")
    return _KIND.parse_object(header, path)


def parse_metadata(content: bytes, path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file of any origin, from the beginning of the file or all of it.

    The format: 8 bytes, little-endian, are the length of a JSON object, whose key `__metadata__` holds strings.

    Raises:
        ModelError: it is not a safetensors file.
    """
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    text = content[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if not length <= min(len(content) - _LENGTH_BYTES, _MOST_HEADER_BYTES):
        raise _KIND.damaged(path, f"a damaged one, with a header of {length:,} bytes in {len(content):,}")
    found = _KIND.parse_object(text, path).get("__metadata__", {}) if b"__metadata__" in text else {}
    return found if isinstance(found, dict) else {}


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read all tensors (on the CPU) and the JSON header.

    Raises:
        ModelError: the file does not exist, is no safetensors file, or was not written by hemabridge.
    """
    content = read_whole(path)
    return parse_tensors(content, path), parse_header(content, path)


def read_whole(path: Path) -> bytes:
    """Read all bytes of a file, for `parse_tensors` and `parse_header`.

    Raises:
        ModelError: the file does not exist, or cannot be read.
    """
    if not path.is_file():
        raise ModelError(f"expected a safetensors file, got nothing: {path} does not exist")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"expected a whole safetensors file, got a damaged one: {path} ({error})") from error


def parse_tensors(content: bytes, path: Path) -> "dict[str, Tensor]":
    """Return the tensors of a file's whole content; errors state `path`.

    Raises:
        ModelError: it is not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _KIND.damaged(path, f"a damaged one ({error})") from error
