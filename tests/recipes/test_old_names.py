"""Each key and each name that an earlier recipe may hold is answered with its new one, and none is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from hemabridge.errors import RecipeError
from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.recipes.old_names import OLD_KEYS, OLD_VALUES
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.translators.presets import PRESETS

SITES = {"source": {"site": "there", "folder": "there"}, "target": {"site": "here", "folder": "here"}}
STUDY = {"kind": "study", "name": "old", **SITES, "classifiers": [{"name": "a", "train": {}}]}
SYNTHESIS = {"kind": "synthesis", "name": "old", "simulate": {}, "pairs": [{"source": "a", "target": "b"}]}


def refusal(folder: Path, data: dict[str, Any]) -> str:
    (folder / "recipe.toml").write_text(tomli_w.dumps(data), encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        read_recipe(folder / "recipe.toml")
    return str(error.value)


@pytest.mark.parametrize(
    ("recipe", "place", "new"),
    [
        (STUDY, "agreement", "ensemble"),
        (STUDY, "again", "source_fine_tuning"),
        (STUDY, "batch_norm_anew", "adabn"),
        (STUDY, "classifiers.0.train.looks", "stain_augmentation"),
        (STUDY, "translator.model.judge", "discriminator"),
        (SYNTHESIS, "judge", "scorer"),
        (STUDY, "ensemble.taught_table", "learned_lut"),
        (STUDY, "ensemble.both_sites", "semi_supervised"),
        (SYNTHESIS, "worth", "learning_curve"),
        (STUDY, "ensemble.sure", "min_confidence"),
        (STUDY, "ensemble.looks", None),
        (STUDY, "ensemble.discord", None),
        (STUDY, "ensemble.doubt", None),
        (STUDY, "ensemble.anew", None),
        (STUDY, "ensemble.mixing_rounds", None),
        (STUDY, "ensemble.source_looks", None),
        (STUDY, "ensemble.self_training_rounds", None),
    ],
)
def test_an_old_key_is_answered_with_the_new_one(
    tmp_path: Path, recipe: dict[str, Any], place: str, new: str | None
) -> None:
    section: Any = {place.split(".")[-1]: 1}
    if place.startswith("classifiers"):
        data = {**recipe, "classifiers": [{"name": "a", "train": section}]}
    else:
        for name in place.split(".")[-2::-1]:
            section = {name: section}
        data = {**recipe, **section}
    said = "it is gone, leave it out" if new is None else f"it is now {new!r}"
    assert f"unknown key {place}; {said}" in refusal(tmp_path, data)


def test_every_old_key_is_tried_above() -> None:
    (mark,) = test_an_old_key_is_answered_with_the_new_one.pytestmark  # type: ignore[attr-defined]
    tried = {(place.split(".")[-1], new) for _, place, new in mark.args[1]}
    listed = {
        (old, one) for old, new in OLD_KEYS.items() for one in (new.values() if isinstance(new, Mapping) else [new])
    }
    assert tried == listed


@pytest.mark.parametrize(
    ("data", "old"),
    [
        ({"translator": {"preset": "gray-then-colour"}}, "gray-then-colour"),
        ({"translator": {"model": {"kind": "gray-then-colour"}}}, "gray-then-colour"),
        ({"translators": ["gray-then-colour"]}, "gray-then-colour"),
        ({"normalizers": ["white-point", "by-look"]}, "by-look"),
        ({"normalizers": ["taught-table"]}, "taught-table"),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(tmp_path: Path, data: dict[str, Any], old: str) -> None:
    assert f"{old!r} is now {OLD_VALUES[old]!r}" in refusal(tmp_path, {**STUDY, **data})


def test_the_new_names_exist_and_the_old_ones_do_not() -> None:
    known = PRESETS.keys() | NORMALIZERS.keys()
    assert set(OLD_VALUES) & known == set()
    assert OLD_VALUES["gray-then-colour"] in PRESETS
