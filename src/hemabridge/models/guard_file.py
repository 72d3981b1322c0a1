"""The guard in a file beside a model: limits of changes of morphology, and the fallback for refused cells."""

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hemabridge.errors import ModelError
from hemabridge.guard.thresholds import Thresholds
from hemabridge.normalizers.catalog import normalizer_from_json
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.storage.file_kind import fault_of, with_format
from hemabridge.storage.files import atomic_write

FORMAT: Final = 2
"""Version of the file."""

MAX_JSON_CHARACTERS: Final = 2_000_000


class Guard(BaseModel):
    """The content of a guard's file.

    Attributes:
        format: version of the file's format. In format 1, which can be read, the field is `version`.
        model: SHA-256 of the model's file, hexadecimal.
        thresholds: the limits.
        fallback: the normalizer for refused cells, as JSON of its `to_json`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[2] = FORMAT
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    thresholds: Thresholds
    fallback: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_format(cls, data: object) -> object:
        return with_format(data, FORMAT, "a guard", "learn it again")

    def normalizer(self) -> Normalizer | None:
        """Return the fallback.

        Raises:
            ModelError: it is not a normalizer.
        """
        return None if self.fallback is None else normalizer_from_json(self.fallback)

    def chosen(self, fallback: Normalizer | Literal["none"] | None) -> Normalizer | None:
        """Return what re-stains refused cells: a given normalizer, nothing for `none`, or its own for None."""
        if fallback is None:
            return self.normalizer()
        return fallback if isinstance(fallback, Normalizer) else None

    def identity(self, fallback: Normalizer | Literal["none"] | None) -> str:
        """Return the identity of limits and chosen fallback, which a log adds to that of the model."""
        safer = self.chosen(fallback)
        text = self.thresholds.to_json() + ("" if safer is None else safer.to_json())
        return f" guarded by {hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            ModelError: the file is missing, too large, or has other content.
        """
        if not path.is_file() or path.stat().st_size > MAX_JSON_CHARACTERS:
            raise ModelError(f"expected the guard of a model, got nothing, a folder or a very large file: {path}")
        return cls.of_text(path.read_text(encoding="utf-8-sig", errors="replace"), path)

    @classmethod
    def of_text(cls, text: str, path: Path) -> Self:
        """Read the text of a file; errors state `path`.

        Raises:
            ModelError: it has other content.
        """
        try:
            guard = cls.model_validate_json(text)
        except ValidationError as error:
            raise ModelError(
                f"expected the guard of a model as `hemabridge guard` writes it, in {fault_of(error)}; "
                f"learn it again: {path}"
            ) from error
        guard.normalizer()
        return guard

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=1), encoding="utf-8")


def guard_path(model: Path) -> Path:
    """Return the path of the guard of a model's file, `NAME.guard.json` beside it."""
    return model.with_name(f"{model.stem}.guard.json")


def find_guard(model: Path, sha256: str) -> Guard | None:
    """Return the guard beside a model's file, `NAME.guard.json` or `guard.json`; None if there is none.

    Args:
        model: the model's file.
        sha256: SHA-256 of this file, 64 lower-case hexadecimal digits.

    Raises:
        ModelError: the guard is damaged, or belongs to another model.
    """
    path = next((p for p in (guard_path(model), model.with_name("guard.json")) if p.is_file()), None)
    if path is None:
        return None
    guard = Guard.read(path)
    if guard.model != sha256:
        raise ModelError(f"expected the guard of {model}, got that of another model: {path}; learn it again")
    return guard
