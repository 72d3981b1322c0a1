"""Settings from outside: TOML files, and what is wrong with them in words. Nothing here needs PyTorch."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hemabridge.errors import RecipeError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RecipeError: there is none, or it is none.
    """
    if not path.is_file():
        raise RecipeError(f"expected a recipe, got {'no file' if path.exists() else 'nothing'}: {path}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"expected TOML, got something else: {path}: {error}") from error


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Say what is wrong with settings, a line for each problem; an unknown key is answered with the nearest one."""
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            lines.append(f"  unknown key {place}{nearest(name, _all_keys(kind) - {name})}")
        else:
            lines.append(f"  {place or 'the recipe'}: {problem['msg']} (got {str(problem['input'])[:80]!r})")
    return "\n".join(lines)


def nearest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    """Return the question whether the nearest known name was meant; nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _all_keys(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {key for part in parts for key in part.get("properties", {})}
