"""A small recipe of a study, written with changes, and what is said of it when it is refused."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from hemabridge.errors import RecipeError
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe

STUDY: dict[str, Any] = {
    "kind": "study",
    "name": "small",
    "source": {"site": "there", "manifest": "there/manifest.csv"},
    "target": {"site": "here", "folder": "here"},
    "classifiers": [{"name": "ResNet18", "train": {"architecture": "resnet18"}}],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**STUDY, **changes}.items() if value is not None}


def written(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "recipe.toml"
    path.write_text(tomli_w.dumps(data), encoding="utf-8")
    return path


def study(folder: Path, *changes: str, **data: Any) -> StudyRecipe:
    return expect_kind(read_recipe(written(folder, changed(**data)), changes), StudyRecipe)


def refusal(folder: Path, *changes: str, **data: Any) -> str:
    with pytest.raises(RecipeError) as error:
        study(folder, *changes, **data)
    return str(error.value)
