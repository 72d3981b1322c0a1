"""Configurations that are told apart by their `kind`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator


def by_kind(default: str, *configs: type[BaseModel]) -> WrapValidator:
    """Read a section as the one of `configs` whose field `kind` defaults to what the section says; `default` without.

    Pydantic's own discriminated unions demand a `kind`, which older files have not, and put it into the place of
    every fault, where no such key stands in the recipe.
    """
    known = {config.model_fields["kind"].default: config for config in configs}

    def read(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return handler(value)
        kind = value.get("kind", default)
        if not isinstance(kind, str) or kind not in known:
            raise ValueError(f"expected kind = one of {', '.join(map(repr, known))}, got {kind!r}")
        return known[kind].model_validate(value, context=info.context)

    return WrapValidator(read)
