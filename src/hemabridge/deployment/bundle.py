"""The content of a bundle: a typed manifest, and the entries that it lists, each with its size and SHA-256."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hemabridge._version import __version__
from hemabridge.deployment.archive import LARGEST_BYTES, pack, unpack
from hemabridge.deployment.onnx_file import check_onnx
from hemabridge.errors import ModelError
from hemabridge.storage.file_kind import FileKind, check_format, fault_of

MANIFEST: Final = "hemabridge.json"
"""The first entry of every bundle."""
FORMAT: Final = 1
LARGEST_JSON_BYTES: Final = 20_000_000
"""Largest size of an entry that is JSON."""

RESTAINER_JSON: Final = "restainer/normalizer.json"
RESTAINER_HEADER: Final = "restainer/header.json"
RESTAINER_NETWORK: Final = "restainer/network.onnx"
RESTAINER_WEIGHTS: Final = "restainer/weights.safetensors"
RESTAINER_GUARD: Final = "restainer/guard.json"
CLASSIFIER_HEADER: Final = "classifier/header.json"
CLASSIFIER_NETWORK: Final = "classifier/network.onnx"
CLASSIFIER_WEIGHTS: Final = "classifier/weights.safetensors"
CARD: Final = "card.md"
BILL_OF_MATERIALS: Final = "bom.json"
ADAPTED: Final = "adapted.json"
EXPECTED: Final = "test/expected.json"

_START: Final = b"PK\x03\x04"
_NAME_AT: Final = 30
"""Where the name of the first entry begins: after a local header of fixed size."""
_AGAIN: Final = "export it again"
_MANIFEST: Final = FileKind("the manifest of a bundle", ModelError, "take another copy, or export it again")

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

LONGEST_NAME: Final = 200


def is_name(text: str) -> bool:
    """Return whether a text may be the name of a bundle: one line that a terminal shows as it is."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


def _named(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"expected 1 to {LONGEST_NAME} printable characters")
    return text


Name: TypeAlias = Annotated[str, AfterValidator(_named)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Entry(_Part):
    """Size and SHA-256 of an entry."""

    size: int = Field(ge=0, le=LARGEST_BYTES)
    sha256: Sha256


class RestainerPart(_Part):
    """What re-stains.

    Attributes:
        kind: a normalizer, which is JSON alone; or a translator, a header and a network.
        sha256: of the model's file that was exported.
        guarded: whether there are limits for the morphology guard.
        crop_px: side of the square around a cell in new images, in pixels; None: the model's own.
    """

    kind: Literal["normalizer", "translator"]
    sha256: Sha256
    guarded: bool
    crop_px: int | None = Field(None, ge=1)

    @property
    def entries(self) -> frozenset[str]:
        """Names of its entries."""
        own = (
            {RESTAINER_JSON} if self.kind == "normalizer" else {RESTAINER_HEADER, RESTAINER_NETWORK, RESTAINER_WEIGHTS}
        )
        return frozenset(own | ({RESTAINER_GUARD} if self.guarded else set()))


class ClassifierPart(_Part):
    """What classifies.

    Attributes:
        kind: a snapshot of `hemabridge train` or `adapt`, or the ONNX file of another program.
        sha256: of the model's file that was exported.
        crop_px: side of the square around a cell in new images, in pixels; None: the model's own.
    """

    kind: Literal["snapshot", "external"]
    sha256: Sha256
    crop_px: int | None = Field(None, ge=1)

    @property
    def entries(self) -> frozenset[str]:
        """Names of its entries."""
        weights = {CLASSIFIER_WEIGHTS} if self.kind == "snapshot" else set()
        return frozenset({CLASSIFIER_HEADER, CLASSIFIER_NETWORK} | weights)


class Manifest(_Part):
    """The manifest of a bundle.

    Attributes:
        format: version of the format.
        kind: distinguishes it from other JSON.
        written_by: version of hemabridge.
        name: a name for people.
        restainer, classifier: the models; at least one.
        is_adapted: whether it has what `hemabridge adapt` found, such as the limit below which a cell is unknown.
        test_cells: number of test cells.
        entries: all other entries of the bundle, by name.
    """

    kind: Literal["bundle"] = "bundle"
    format: Literal[1] = FORMAT
    written_by: Name = __version__
    name: Name
    restainer: RestainerPart | None = None
    classifier: ClassifierPart | None = None
    is_adapted: bool = False
    test_cells: int = Field(0, ge=0, le=16)
    entries: dict[str, Entry]

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.restainer is None and self.classifier is None:
            raise ValueError("expected a model that re-stains or one that classifies, got neither")
        wanted = {CARD, BILL_OF_MATERIALS, EXPECTED} | ({ADAPTED} if self.is_adapted else set())
        for part in (self.restainer, self.classifier):
            wanted |= set() if part is None else part.entries
        for number in range(1, self.test_cells + 1):
            wanted |= {test_cell(number)} | (set() if self.restainer is None else {restained_cell(number)})
        found = set(self.entries)
        if found != wanted:
            raise ValueError(f"expected the entries of its models, missing or extra: {sorted(found ^ wanted)[:3]}")
        return self


def test_cell(number: int) -> str:
    """Return the name of a test cell's entry."""
    return f"test/cell-{number}.png"


def restained_cell(number: int) -> str:
    """Return the name of the entry with the expected re-stained test cell."""
    return f"test/restained-{number}.png"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose entries are those of its manifest.

    Attributes:
        manifest: the manifest.
        entries: content of all other entries, by name.
    """

    manifest: Manifest
    entries: Mapping[str, bytes]

    @classmethod
    def of(cls, content: bytes, path: Path) -> Self:
        """Read the content of a file; errors state `path`.

        Raises:
            ModelError: it is not a bundle, another version wrote it, an entry is missing, extra or changed, a JSON
                entry is too large, or a network has other than standard operators, or weights elsewhere or NaN.
        """
        entries = unpack(content, path)
        manifest = _manifest(entries.pop(MANIFEST, b""), path)
        if set(entries) != set(manifest.entries):
            raise _changed(path, sorted(set(entries) ^ set(manifest.entries))[0])
        for name, entry in manifest.entries.items():
            if len(entries[name]) != entry.size or hashlib.sha256(entries[name]).hexdigest() != entry.sha256:
                raise _changed(path, name)
            if name.endswith(".json") and entry.size > LARGEST_JSON_BYTES:
                raise ModelError(
                    f"expected JSON of at most {LARGEST_JSON_BYTES:,} bytes, got {name} in {path}; {_AGAIN}"
                )
            if name in (RESTAINER_NETWORK, CLASSIFIER_NETWORK):
                check_onnx(entries[name], path)
        return cls(manifest, entries)

    def to_bytes(self) -> bytes:
        """Return the content of its file, without a signature; the same bundle gives the same bytes."""
        manifest = self.manifest.model_dump_json(indent=1).encode()
        return pack({MANIFEST: manifest, **{name: self.entries[name] for name in sorted(self.entries)}})

    def text(self, name: str) -> str:
        """Return an entry of text.

        Raises:
            ModelError: it is not UTF-8.
        """
        try:
            return self.entries[name].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"expected text in the entry {name} of a bundle, got other bytes; {_AGAIN}") from error


def listed(entries: Mapping[str, bytes]) -> dict[str, Entry]:
    """Return sizes and hashes of entries, for a manifest."""
    return {
        name: Entry(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in sorted(entries.items())
    }


def is_bundle(content: bytes) -> bool:
    """Return whether the content of a file begins as that of a bundle."""
    return content.startswith(_START) and content[_NAME_AT:].startswith(MANIFEST.encode())


def _manifest(content: bytes, path: Path) -> Manifest:
    if not content or len(content) > LARGEST_JSON_BYTES:
        raise ModelError(
            f"expected a bundle with a manifest, got one without, or with a very large one: {path}; {_AGAIN}"
        )
    table = _MANIFEST.parse_object(content, path)
    check_format(table.get("format"), FORMAT, f"a bundle ({path})", _AGAIN, ModelError)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        found = fault_of(error, "the manifest")
        raise ModelError(f"expected the manifest of a bundle, got another in {found}: {path}; {_AGAIN}") from error


def _changed(path: Path, name: str) -> ModelError:
    return ModelError(
        f"expected the entries that the manifest lists, got {name} missing, extra or changed: {path}; take another copy"
    )
