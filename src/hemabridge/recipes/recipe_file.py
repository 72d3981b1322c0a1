"""Reading of a recipe: TOML, changes from the command line, the translator's preset, and errors with their location."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from hemabridge.errors import RecipeError
from hemabridge.recipes.old_names import OLD_KEYS, OLD_VALUES
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.synthesis import SynthesisRecipe
from hemabridge.recipes.trainings import ClassifierTrainingRecipe, DistillationRecipe, TranslatorRecipe
from hemabridge.storage.settings_file import TOML, explain, nearest, read_toml, renamed
from hemabridge.translators.presets import PRESETS

Recipe = TranslatorRecipe | DistillationRecipe | ClassifierTrainingRecipe | StudyRecipe | SynthesisRecipe
KINDS: dict[str, type[Recipe]] = {
    "translator": TranslatorRecipe,
    "distillation": DistillationRecipe,
    "classifier": ClassifierTrainingRecipe,
    "study": StudyRecipe,
    "synthesis": SynthesisRecipe,
}
EVERY: Final = "*"
"""In `--set`: every item of a list."""
Kind = TypeVar("Kind", TranslatorRecipe, DistillationRecipe, ClassifierTrainingRecipe, StudyRecipe, SynthesisRecipe)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply `section.key=value` changes, fill in the translator's preset, and validate the result.

    In the place of a section may stand an item of a list: its number, from 0, its name, or `*` for every item that has
    the section which comes next.

    Raises:
        RecipeError: the file is missing or not TOML, a key is unknown (a similar one is suggested), or a value is
            wrong.
    """
    data = read_toml(path)
    for change in changes:
        _apply(change, data)
    TOML.expect_bounded(data, path)
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise RecipeError(f"expected kind = one of {', '.join(map(repr, KINDS))}, got {kind!r} in {path}")
    if isinstance(data.get("translator"), dict):
        data["translator"] = _with_preset(data["translator"])
    try:
        return KINDS[kind].model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        raise RecipeError(f"{path} cannot be used:\n{explain(error, KINDS[kind], OLD_KEYS, OLD_VALUES)}") from error


def expect_kind(recipe: Recipe, kind: type[Kind]) -> Kind:
    """Return the recipe if it is of that kind.

    Raises:
        RecipeError: it is of another kind.
    """
    if not isinstance(recipe, kind):
        raise RecipeError(f"expected a recipe of another kind, got kind = {recipe.kind!r}; see `hemabridge --help`")
    return recipe


def _apply(change: str, data: dict[str, Any]) -> None:
    keys, equals, value = change.partition("=")
    if not equals:
        raise RecipeError(f"expected --set section.key=value, got {change!r}")
    _set(data, [part.strip() for part in keys.split(".")], _value(value), change)


def _set(place: dict[str, Any] | list[Any], keys: Sequence[str], value: Any, change: str) -> None:
    """Set one value below a section, in one item of a list or in every one."""
    key, *below = keys
    if isinstance(place, list):
        for item in _items(place, key, below, change):
            _set(item, below, value, change)
        return
    if not below:
        place[key] = value
        return
    inner = place.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise RecipeError(f"expected a section, got a value at {key!r} in --set {change!r}")
    _set(inner, below, value, change)


def _items(items: Sequence[Any], key: str, below: Sequence[str], change: str) -> list[dict[str, Any]]:
    """Return the item of that number, from 0, or of that name; or every one that has the section to be changed."""
    numbered = {str(n): item for n, item in enumerate(items) if isinstance(item, dict)}
    sections = list(numbered.values())
    known = {str(item.get("name")): item for item in sections} | numbered
    if key == EVERY:
        found = [item for item in sections if len(below) < 2 or below[0] in item]
    else:
        found = [known[key]] if key in known else []
    if not below or not found:
        raise RecipeError(
            f"expected a setting of one of {len(sections)} sections, by its number (from 0), its name, or {EVERY} for "
            f"every one that has the setting's section, got --set {change!r}"
        )
    return found


def _value(text: str) -> Any:
    try:
        found = TOML.parse_toml(f"value = {text}")
    except RecipeError:
        return text.strip()
    return found["value"] if len(found) == 1 else text.strip()


def _with_preset(section: Mapping[str, Any]) -> dict[str, Any]:
    own = dict(section)
    name = own.pop("preset", None)
    if name is None:
        return own
    if not isinstance(name, str) or name not in PRESETS:
        told = f"expected a preset of {', '.join(PRESETS)}, got {name!r}"
        new = renamed(told, OLD_VALUES)
        raise RecipeError(new if new != told else told + nearest(str(name), PRESETS))
    return _merged(PRESETS[name].config.model_dump(mode="json"), own)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` updated by `own`, section by section; a section of another `kind` replaces that of the base."""
    if "kind" in own and own["kind"] != base.get("kind"):
        return dict(own)
    both = dict(base)
    for key, value in own.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if nested else value
    return both
