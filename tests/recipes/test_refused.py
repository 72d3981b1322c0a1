"""What a recipe may not say is told by its place, in our words, before any work."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_recipes import STUDY, refusal, study

from hemabridge.errors import RecipeError
from hemabridge.recipes.recipe_file import read_recipe


@pytest.mark.parametrize(
    ("data", "place", "near"),
    [
        ({"tested_epoch": [5]}, "tested_epoch", "tested_epochs"),
        ({"translator": {"crop": 96}}, "translator.crop", "crop_px"),
        ({"translator": {"model": {"generator": {"block": 3}}}}, "translator.model.generator.block", "blocks"),
        ({"source": {"site": "there", "mannifest": "m.csv"}}, "source.mannifest", "manifest"),
        ({"source_fine_tuning": {"epoch": 3}}, "source_fine_tuning.epoch", "epochs"),
        (
            {"classifiers": [{"name": "a", "train": {"architecture": "resnet18", "learn_rate": 0.1}}]},
            "classifiers.0.train.learn_rate",
            "learning_rate",
        ),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands_and_the_nearest_is_named(
    tmp_path: Path, data: dict[str, Any], place: str, near: str
) -> None:
    assert f"unknown key {place}; did you mean '{near}'?" in refusal(tmp_path, **data)


def test_a_key_that_is_near_to_none_is_refused_without_a_guess(tmp_path: Path) -> None:
    assert refusal(tmp_path, zzzzzz=1).endswith("unknown key zzzzzz")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, seeed=1, seed="large", mode="loose")
    assert "unknown key seeed; did you mean 'seed'?" in message
    assert "seed: " in message
    assert "'large'" in message
    assert "mode: " in message
    assert str(tmp_path / "recipe.toml") in message


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"size_px": 96}, "unknown key size_px"),
        ({"seed": -1}, "seed: expected a number greater than or equal to 0, got -1"),
        ({"seed": 2**64}, "seed: expected a number less than"),
        ({"seed": 1.5}, "seed"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"classes": "blast"}, "classes"),
        ({"classes": ["blast", "blast"]}, "classes: expected each once, got blast more than once"),
        ({"tested_epochs": []}, "tested_epochs"),
        ({"tested_epochs": [5, 5]}, "expected each of tested_epochs once"),
        ({"classifiers": []}, "classifiers"),
        ({"source_fine_tuning": {"learning_rate": float("nan")}}, "source_fine_tuning.learning_rate"),
        ({"source": {"site": "there"}}, "expected either folder or manifest"),
        ({"source": {"site": "there", "folder": "f", "manifest": "m"}}, "expected either folder or manifest"),
        ({"source": {"site": "there", "folder": "f", "crop_px": 0}}, "source.crop_px"),
        ({"source": None}, "source: expected a value, got none"),
        ({"target_parts": {"train": 1.0}}, "target_parts: expected at least"),
        (
            {"source_parts": {"learn": 0.5, "test": 0.5}},
            "source_parts: expected at least the parts train and",
        ),
        ({"source_parts": {"train": "half", "test": 0.5}}, "source_parts.train"),
        ({"translator": {"crop_px": 30, "load_px": 40}}, "multiple of 4"),
        ({"translator": {"crop_px": 64, "load_px": 40}}, "expected crop_px <= load_px"),
        (
            {"translator": {"load_px": 1_000_000}},
            "translator.load_px: expected a number less than or equal to 2048, got 1000000",
        ),
        (
            {"classifiers": [{"name": "a", "train": {"size_px": 10**9}}]},
            "size_px: expected a number less than or equal to 2048",
        ),
        ({"classifiers": [{"name": "a"}]}, "expected either train or external"),
        ({"classifiers": [{"name": "../a", "train": {}}]}, "classifiers.0.name"),
    ],
)
def test_wrong_values_are_told_by_place(tmp_path: Path, data: dict[str, Any], told: str) -> None:
    assert told in refusal(tmp_path, **data)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"mode": "loose"}, "mode: expected 'strict' or 'transductive', got 'loose'"),
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5"),
        ({"source": 5}, "source: expected a section, got 5"),
        ({"classifiers": []}, "classifiers: expected at least 1 item"),
        (
            {"classifiers": [{"name": "a", "train": {"epochs": "three"}}]},
            "classifiers.0.train.epochs: expected a whole number, got 'three'",
        ),
        (
            {"classifiers": [{"name": "a", "train": {"weights": 3}}]},
            "classifiers.0.train.weights: expected 'download' or a path, got 3",
        ),
        (
            {"source": {"site": "a", "folder": "f", "crop_px": "hole"}},
            "source.crop_px: expected a whole number or 'whole', got 'hole'",
        ),
        ({"more_seeds": [0]}, "the recipe: expected more_seeds that differ from each other and from seed, got [0, 0]"),
    ],
)
def test_each_problem_is_one_line_in_our_words(tmp_path: Path, data: dict[str, Any], line: str) -> None:
    assert refusal(tmp_path, **data).splitlines()[1:] == [f"  {line}"]


@pytest.mark.parametrize("names", [("ResNet18", "ResNet18"), ("ResNet18", "resnet18"), ("A.B", "A B"), ("...", "a")])
def test_two_classifiers_may_not_share_a_folder(tmp_path: Path, names: tuple[str, str]) -> None:
    message = refusal(tmp_path, classifiers=[{"name": name, "train": {}} for name in names])
    assert (
        f"expected names of classifiers that differ in letters or digits (each gets a folder), got {list(names)}"
        in (message)
    )


@pytest.mark.parametrize("names", [("clinic", "clinic"), ("St. Anna", "st-anna"), ("!", "clinic")])
def test_two_sites_may_not_share_a_folder(tmp_path: Path, names: tuple[str, str]) -> None:
    source, target = ({"site": name, "folder": "f"} for name in names)
    assert "expected names of sites that differ" in refusal(tmp_path, source=source, target=target)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"preset": "cyclegan-cup"}, "got 'cyclegan-cup'; did you mean 'cyclegan-cpu'?"),
        ({"preset": ["cyclegan-cpu"]}, "expected a preset of"),
        ({"preset": {}}, "expected a preset of"),
        (5, "translator: "),
        ("cyclegan-cpu", "translator: "),
        ([1], "translator: "),
    ],
)
def test_a_wrong_preset_or_section_is_refused(tmp_path: Path, section: Any, told: str) -> None:
    assert told in refusal(tmp_path, translator=section)


def test_epochs_that_get_no_snapshot_are_refused_before_hours_of_training(tmp_path: Path) -> None:
    translator = {"constant_epochs": 6, "decay_epochs": 6, "snapshot_every_epochs": 4}
    message = refusal(tmp_path, translator=translator, tested_epochs=[4, 6, 12, 16])
    assert "expected tested_epochs among the snapshots' epochs [4, 8, 12], got [6, 16]" in message
    study(tmp_path, translator=translator, tested_epochs=[4, 12])
    extra = study(tmp_path, translator=translator | {"snapshot_images": [600]}, tested_epochs=[6])
    assert extra.tested_epochs == (6,)  # whether 600 images are 6 epochs, only the number of cells tells


@pytest.mark.parametrize("kind", [None, "stduy", 3, ["study"], {"study": 1}])
def test_a_kind_that_does_not_exist_is_refused(tmp_path: Path, kind: Any) -> None:
    assert "expected kind = one of 'translator', 'distillation', 'classifier', 'study'" in refusal(tmp_path, kind=kind)


TEXT = st.characters(exclude_categories=["Cs"])
"""All characters of UTF-8; by the name of the codec, Hypothesis tries each of a million."""
toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(TEXT, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT, max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from([*STUDY, "classes", "translator", "source_fine_tuning", "target_parts", "truth"]),
    value=toml_values,
)
def test_any_value_in_any_place_is_used_or_refused_but_never_a_crash(tmp_path: Path, key: str, value: Any) -> None:
    try:
        text = tomli_w.dumps({**STUDY, key: value})
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeEncodeError):
        return  # a text that TOML cannot hold
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    try:
        told = read_recipe(tmp_path / "recipe.toml").kind
    except RecipeError as error:
        told = str(error)
    assert told == "study" or "expected" in told or "cannot be used" in told


def test_targets_are_refused_without_any_and_with_one_twice(tmp_path: Path) -> None:
    assert "expected [target], or [[target]] once or more" in refusal(tmp_path, target=[])
    assert "names of sites that differ" in refusal(tmp_path, target=[STUDY["target"], STUDY["target"]])
    assert "unknown key target.1.wrong" in refusal(
        tmp_path, target=[STUDY["target"], {"site": "x", "folder": "x", "wrong": 1}]
    ).replace("further_targets.0", "target.1")
