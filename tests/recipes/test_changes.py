"""Changes of a recipe from the command line."""

from pathlib import Path

import pytest
from written_recipes import refusal, study


def test_changes_are_typed_as_toml_or_taken_as_text(tmp_path: Path) -> None:
    recipe = study(
        tmp_path,
        "seed=7",
        "name = other",
        'translator.preset="cyclegan-cpu"',
        "translator.model.generator.blocks=1",
        "tested_epochs=[2, 4]",
        "mode=transductive",
        "target_parts={train = 0.5, test = 0.5}",
    )
    assert (recipe.seed, recipe.name, recipe.mode) == (7, "other", "transductive")
    assert (recipe.translator.model.generator.blocks, recipe.translator.load_px) == (1, 108)
    assert recipe.tested_epochs == (2, 4)
    assert recipe.target_parts == {"train": 0.5, "test": 0.5}


def test_a_change_wins_over_the_file(tmp_path: Path) -> None:
    assert study(tmp_path, "seed=7", "seed=8", seed=3).seed == 8


def test_a_change_reaches_one_item_of_a_list_by_number_or_name_or_all_that_have_the_section(tmp_path: Path) -> None:
    classifiers = [
        {"name": "one", "train": {"weights": "download"}},
        {"name": "two nets", "train": {"weights": "download"}},
        {"name": "given", "external": {"file": "a.onnx", "classes": ["x", "y"]}},
    ]
    found = study(
        tmp_path,
        "classifiers.*.train.size_px=64",
        "classifiers.0.train.weights=random",
        "classifiers.two nets.train.stain_augmentation.stain=0.5",
        "classifiers.given.external.preprocessing.size_px=48",
        classifiers=classifiers,
    ).classifiers
    assert [spec.size_px for spec in found] == [64, 64, 48]
    assert [spec.train.weights for spec in found if spec.train] == [None, "download"]
    assert [spec.train.stain_augmentation is None for spec in found if spec.train] == [True, False]


def test_random_weights_are_what_a_recipe_without_weights_has(tmp_path: Path) -> None:
    bare, stated = (
        study(tmp_path, classifiers=[{"name": "a", "train": train}]).classifiers[0].train
        for train in ({}, {"weights": "random"})
    )
    assert bare is not None
    assert bare == stated
    assert (bare.weights, bare.epochs, bare.frozen_epochs) == (None, 5, 0)


def test_fine_tuning_again_can_be_left_out(tmp_path: Path) -> None:
    assert study(tmp_path).source_fine_tuning is not None
    assert study(tmp_path, "source_fine_tuning=false").source_fine_tuning is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seed", "expected --set section.key=value, got 'seed'"),
        ("seed.deep=1", "expected a section, got a value at 'seed'"),
        ("classifiers=1", "classifiers: expected a list"),
        ("classifiers.name=x", "expected a setting of one of 1 sections, by its number (from 0), its name, or *"),
        ("classifiers.1.name=x", "expected a setting of one of 1 sections"),
        ("classifiers.0=x", "expected a setting of one of 1 sections"),
        ("classifiers.*=x", "expected a setting of one of 1 sections"),
        ("classifiers.*.external.file=x", "expected a setting of one of 1 sections"),
        ("classifiers.ResNet34.train.epochs=2", "got --set 'classifiers.ResNet34.train.epochs=2'"),
        ("classifiers." + "9" * 5000 + ".name=x", "expected a setting of one of 1 sections"),
        ("classifiers.0.train.epoch=2", "unknown key classifiers.0.train.epoch; did you mean 'epochs'?"),
        ("sede=1", "unknown key sede; did you mean 'seed'?"),
        ("=1", "unknown key"),
        ("seed=1\nname='x'", "seed"),
        ("seed=" + "[" * 100_000, "seed"),
    ],
)
def test_a_wrong_change_is_refused(tmp_path: Path, change: str, told: str) -> None:
    assert told in refusal(tmp_path, change, seed=1)
