"""Settings from outside: kinds of values, TOML files, and what is wrong with them in words. Free of PyTorch."""

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, ValidationInfo

from hemabridge.errors import RecipeError
from hemabridge.storage.file_kind import FileKind

Items = TypeVar("Items", bound=tuple[Hashable, ...])

_SHOWN: Final = 60
"""Characters of a wrong value."""

_BRANCH: Final = re.compile(r"constrained-.*|[\w-]+\[.*\]|int|float|str|bool|path|none", re.DOTALL)
"""What Pydantic appends to a place for each kind of value that it tried there."""

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
    """Return the items if they differ from each other; for the validators of settings.

    Raises:
        ValueError: some are there more than once.
    """
    twice = [str(item) for item, count in Counter(items).items() if count > 1]
    if twice:
        raise ValueError(f"expected each once, got {', '.join(twice)} more than once")
    return items


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path).resolve()


RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A path; in a recipe it is relative to the recipe's own folder, which is the validation context's `folder`."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What both NumPy and PyTorch take for a seed."""
TOML: Final = FileKind("TOML", RecipeError, "correct the file", largest_bytes=1_000_000, most_bits=1000)
"""A recipe, or another file of settings, whose own schema bounds each integer by its name."""
RunName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Letters, digits, hyphens and dots: it is a folder's name too."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RecipeError: there is none, or it is none.
    """
    if not path.is_file():
        raise RecipeError(f"expected a recipe, got {'no file' if path.exists() else 'nothing'}: {path}")
    return TOML.parse_toml(TOML.read_text(path), path)


def explain(
    error: ValidationError,
    kind: type[BaseModel],
    old_keys: Mapping[str, str | Mapping[str, str]] = {},
    old_values: Mapping[str, str] = {},
) -> str:
    """Say what is wrong with settings, a line for each problem; an unknown key is answered with the nearest one.

    Args:
        error: what Pydantic found.
        kind: the settings that were to be read.
        old_keys: what earlier keys are called now: a new key, or one for each section that may hold the old one, ""
            for any other section.
        old_values: what earlier values are called now.
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
            now = _new_key(name, parts[:-1], old_keys)
            lines.append(f"  unknown key {place}" + (f"; it is now {now!r}" if now else nearest(name, keys - {name})))
        elif not _follows(problem, problems):
            told.setdefault(place or "the recipe", []).append(_said(problem))
            given[place or "the recipe"] = problem["input"]
    lines += [renamed(f"  {place}: {_together(said, given[place])}", old_values) for place, said in told.items()]
    return "\n".join(lines)


def _new_key(old: str, sections: Sequence[Any], old_keys: Mapping[str, str | Mapping[str, str]]) -> str | None:
    """Return what a key is called now in the section that holds it; items of lists are no sections."""
    now = old_keys.get(old)
    if now is None or isinstance(now, str):
        return now
    names = [section for section in sections if isinstance(section, str)]
    return now.get(names[-1] if names else "the recipe", now[""])


def renamed(told: str, old_values: Mapping[str, str]) -> str:
    """Return a message that also says what the earlier names in it are called now."""
    found = [old for old in old_values if re.search(rf"(?<![\w-]){re.escape(old)}(?![\w-])", told)]
    return told + "".join(f"; {old!r} is now {old_values[old]!r}" for old in found)


def _follows(problem: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a problem is only there because of another: of a default, or of a list whose items are wrong."""
    depth = len(problem["loc"])
    inside = any(len(one["loc"]) > depth and one["loc"][:depth] == problem["loc"] for one in problems)
    return problem["type"] == "default_factory_not_called" or (problem["type"] == "too_short" and inside)


def _said(problem: Mapping[str, Any]) -> str:
    """Return what was expected, in our words where Pydantic's are not for laboratories."""
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
    """Join what each kind of value that a setting may have expected, and say what was given if that is short."""
    first, *others = dict.fromkeys(said)
    text = " or ".join([first, *(other.removeprefix("expected ") for other in others)])
    if " got " in text or not isinstance(given, str | int | float):
        return text
    return f"{text}, got {repr(given)[:_SHOWN]}"


def nearest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    """Return the question whether the nearest known name was meant; nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _all_keys(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {key for part in parts for key in part.get("properties", {})}
