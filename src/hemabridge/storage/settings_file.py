"""Settings in TOML files: types of values, reading, and plain messages about errors. Imports no PyTorch."""

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, ValidationInfo

from hemabridge.errors import RecipeError
from hemabridge.storage.file_kind import FileKind

Items = TypeVar("Items", bound=tuple[Hashable, ...])

_ALIKE: Final = 0.6  # smallest similarity of a suggestion, 0..1
_SHOWN: Final = 60
"""Number of characters of a wrong value that a message shows."""

_BRANCH: Final = re.compile(r"constrained-.*|[\w-]+\[.*\]|int|float|str|bool|path|none", re.DOTALL)
"""Suffixes that Pydantic appends to a location for each type that it tried there."""

_WORDS: Final = {
    "missing": "a value, got none",
    "model_type": "a section",
    "dict_type": "a section",
    "tuple_type": "a list",
    "list_type": "a list",
    "path_type": "a path",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
}


def each_once(items: Items) -> Items:
    """Return the items if they are all different; for validators of settings.

    Raises:
        ValueError: an item occurs more than once.
    """
    twice = [str(item) for item, count in Counter(items).items() if count > 1]
    if twice:
        raise ValueError(f"expected each once, got {', '.join(twice)} more than once")
    return items


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path).resolve()


RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A path, relative to the folder of the recipe; the validation context passes that as `folder`."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""A seed that both NumPy and PyTorch accept."""
TOML: Final = FileKind("TOML", RecipeError, "correct the file", largest_bytes=1_000_000, most_bits=1000)
"""A recipe or another file of settings; its schema limits the integers."""
RunName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Letters, digits, hyphens and dots, since it is also the name of a folder."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RecipeError: the file does not exist, or is not TOML.
    """
    if not path.is_file():
        raise RecipeError(f"expected a recipe, got {'no file' if path.exists() else 'nothing'}: {path}")
    return TOML.parse_toml(TOML.read_text(path), path)


def explain(
    error: ValidationError,
    kind: type[BaseModel],
    old_keys: Mapping[str, str | Mapping[str, str | None] | None] = {},
    old_values: Mapping[str, str] = {},
) -> str:
    """Return a message about wrong settings, with a line for each error; for an unknown key it suggests a similar one.

    Args:
        error: the error of Pydantic.
        kind: the settings that were read.
        old_keys: for each earlier key the new one, or None if there is none; or a mapping from the section that holds
            it to these, with "" for any other section.
        old_values: for each renamed value the new one.
    """
    keys = _all_keys(kind)
    problems: list[dict[str, Any]] = [dict(problem) for problem in error.errors()]
    lines = []
    told: dict[str, list[str]] = {}
    given: dict[str, Any] = {}
    for problem in problems:
        parts = [part for part in problem["loc"] if part in keys or not _BRANCH.fullmatch(str(part))]
        place = ".".join(str(part) for part in parts)
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            known = [key for key in keys if key != name]
            instead = _new_key(name, parts[:-1], old_keys) if name in old_keys else nearest(name, known)
            lines.append(f"  unknown key {place}{instead}")
        elif not _follows(problem, problems):
            told.setdefault(place or "the recipe", []).append(_said(problem))
            given[place or "the recipe"] = problem["input"]
    lines += [renamed(f"  {place}: {_together(said, given[place])}", old_values) for place, said in told.items()]
    return "\n".join(lines)


def _new_key(old: str, sections: Sequence[Any], old_keys: Mapping[str, str | Mapping[str, str | None] | None]) -> str:
    """Return what to do with an earlier key in its section; items of lists do not count as sections."""
    now = old_keys[old]
    if isinstance(now, Mapping):
        names = [section for section in sections if isinstance(section, str)]
        now = now.get(names[-1] if names else "the recipe", now[""])
    return "; it is gone, leave it out" if now is None else f"; it is now {now!r}"


def renamed(told: str, old_values: Mapping[str, str]) -> str:
    """Append to a message the new names of the renamed values in it."""
    found = [old for old in old_values if re.search(rf"(?<![\w-]){re.escape(old)}(?![\w-])", told)]
    return told + "".join(f"; {old!r} is now {old_values[old]!r}" for old in found)


def _follows(problem: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether an error only follows from another one, as that of a list follows from errors in its items."""
    depth = len(problem["loc"])
    inside = any(len(one["loc"]) > depth and one["loc"][:depth] == problem["loc"] for one in problems)
    return problem["type"] == "default_factory_not_called" or (problem["type"] == "too_short" and inside)


def _said(problem: Mapping[str, Any]) -> str:
    """Return what was expected, in plain words in place of Pydantic's technical ones."""
    if problem["type"] in _WORDS:
        return f"expected {_WORDS[problem['type']]}"
    text = (
        problem["msg"]
        .removeprefix("Value error, ")
        .removesuffix(f", not {problem.get('ctx', {}).get('actual_length')}")
    )
    text = re.sub(r"^Input should be (?=greater|less)", "expected a number ", text.removesuffix(" after validation"))
    text = re.sub(r"^String should match ", "expected a text of the ", text)
    return re.sub(r"^[A-Z]\w+ should (be|have) ", "expected ", text)


def _together(said: Sequence[str], given: Any) -> str:
    """Join the expectations of all types that a setting may have, and append the given value if it is short."""
    first, *others = dict.fromkeys(said)
    text = " or ".join([first, *(other.removeprefix("expected ") for other in others)])
    if " got " in text or not isinstance(given, str | int | float):
        return text
    return f"{text}, got {repr(given)[:_SHOWN]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a suggestion of the most similar known name, of equally similar ones the first; empty if none is."""
    alike = {key: difflib.SequenceMatcher(None, key, name).ratio() for key in known}
    near = max(alike, key=lambda key: alike[key], default="")
    return f"; did you mean {near!r}?" if near and alike[near] >= _ALIKE else ""


@cache  # the schema of a recipe takes 50 ms
def _all_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of all sections, those of most sections first."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    counts = Counter(key for part in parts for key in part.get("properties", {}))
    return tuple(key for key, _ in counts.most_common())
