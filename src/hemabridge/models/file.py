"""A model's file, read once, so that the bytes that are hashed are those that are used; its format by content."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias

from hemabridge.deployment.bundle import is_bundle
from hemabridge.errors import ModelError
from hemabridge.models.guard_file import Guard

Format: TypeAlias = Literal["json", "safetensors", "onnx", "bundle"]

_PICKLE_STARTS: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ONNX_START: Final = b"\x08"
"""The first field of an ONNX file is its version, `ir_version`: field 1, a number."""
_LONGEST_START: Final = 64
"""Bytes from which a bundle is recognized."""
_SAFETENSORS_JSON: Final = 8
"""Bytes of the length of the JSON object with which a safetensors file begins."""


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The content of a file.

    Attributes:
        path: path of the file.
        content: all of its bytes.
    """

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            ModelError: the file cannot be read.
        """
        try:
            return cls(path, path.read_bytes())
        except OSError as error:
            raise ModelError(
                f"expected the file of a model, a normalizer's JSON, a snapshot or a classifier, got none that can be "
                f"read: {path} ({error.strerror or error})"
            ) from error

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes, 64 lower-case hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def format(self) -> Format:
        """The format, recognized by content.

        Raises:
            ModelError: it is not a format of a model.
        """
        start = self.content[: _SAFETENSORS_JSON + 1]
        if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
            return "json"
        if start[_SAFETENSORS_JSON:] == b"{":
            return "safetensors"
        if is_bundle(self.content[:_LONGEST_START]):
            return "bundle"
        if start.startswith(_PICKLE_STARTS):
            raise ModelError(
                f"expected the file of a model, got a pickle, which can run any code when it is opened: {self.path}; "
                "convert it to safetensors or ONNX on a machine where you trust it"
            )
        if start.startswith(_ONNX_START):
            return "onnx"
        raise ModelError(
            "expected a bundle, a normalizer's JSON, a safetensors file of a translator or a classifier, or an ONNX "
            f"file, got another file: {self.path}"
        )

    @property
    def text(self) -> str:
        """The content of a JSON file."""
        return self.content.decode("utf-8-sig", errors="replace")


@dataclass(frozen=True, eq=False)
class BundledFile(ModelFile):
    """A model's file within a bundle.

    Attributes:
        path: path of the bundle.
        content: all bytes of the entry.
        bundle_sha256: SHA-256 of the bundle, by which the results of its models are known.
        guard: the limits for the morphology guard; None if there are none.
    """

    bundle_sha256: str
    guard: Guard | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the bundle, 64 lower-case hexadecimal digits."""
        return self.bundle_sha256
