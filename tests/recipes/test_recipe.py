import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hemabridge.errors import RecipeError
from hemabridge.networks.config import ColorLutConfig
from hemabridge.recipes.recipe import SiteRecipe, StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.trainings import ClassifierTrainingRecipe, TranslatorRecipe
from hemabridge.storage.run_folder import describe_run
from hemabridge.translators.objective_config import ContrastiveConfig
from hemabridge.translators.presets import PRESETS

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NO_REVIEWS = sorted(path for path in RECIPES.glob("*.toml") if not path.name.startswith("review-"))
"""Reviews have a reader of their own."""

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


@pytest.mark.parametrize("path", NO_REVIEWS, ids=lambda path: path.name)
def test_each_recipe_of_the_repository_is_one(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.kind == tomllib.loads(path.read_text())["kind"]


def test_the_real_study_is_what_the_readme_says_of_it() -> None:
    recipe = expect_kind(read_recipe(RECIPES / "clinic-from-tecom.toml"), StudyRecipe)
    assert (recipe.target.site, recipe.source.site, recipe.mode) == ("clinic", "tecom", "strict")
    assert recipe.classes == ("neutrophil", "lymphocyte", "monocyte", "eosinophil")
    trained = [(spec.train.architecture, spec.train.loss) for spec in recipe.classifiers if spec.train]
    assert trained[:4] == [(net, loss) for net in ("resnet18", "resnet34") for loss in ("cross_entropy", "focal")]
    assert recipe.target.folder == (RECIPES.parent.parent / "shared" / "data" / "clinic").resolve()
    assert len(recipe.tested_epochs) >= 3


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


def test_names_may_be_of_any_script(tmp_path: Path) -> None:
    recipe = study(tmp_path, source={"site": "東京", "folder": "f"}, target={"site": "京都", "folder": "f"})
    assert (recipe.source.site, recipe.target.site) == ("東京", "京都")


def test_a_preset_is_filled_in_below_what_the_recipe_says_at_every_depth(tmp_path: Path) -> None:
    own = {"preset": "cyclegan-cpu", "epoch_images": 10, "model": {"generator": {"blocks": 2}}}
    translator = study(tmp_path, translator=own, tested_epochs=[2]).translator
    preset = PRESETS["cyclegan-cpu"].config
    assert (translator.epoch_images, translator.model.generator.blocks) == (10, 2)
    assert translator.model.generator.channels == preset.model.generator.channels == 24
    assert translator.model.discriminator == preset.model.discriminator
    assert translator.model_copy(update={"epoch_images": 250, "model": preset.model}) == preset


def test_a_section_of_another_kind_takes_the_place_of_the_presets(tmp_path: Path) -> None:
    own = {"preset": "cyclegan-cpu", "model": {"generator": {"kind": "lut"}, "cycle_weight": 3.0}}
    translator = study(tmp_path, translator=own, tested_epochs=[2]).translator
    preset = PRESETS["cyclegan-cpu"].config
    assert translator.model.generator == ColorLutConfig()
    assert (translator.model.cycle_weight, translator.model.discriminator) == (3.0, preset.model.discriminator)
    own = {"preset": "cyclegan-cpu", "model": {"kind": "contrastive"}}
    translator = study(tmp_path, translator=own, tested_epochs=[2]).translator
    assert (translator.model, translator.load_px) == (ContrastiveConfig(), 108)
    own = {"preset": "cyclegan-cpu", "model": {"kind": "cyclegan", "generator": {"kind": "resnet", "blocks": 2}}}
    assert study(tmp_path, translator=own, tested_epochs=[2]).translator.model.generator.channels == 24


def test_without_a_preset_the_translator_is_the_papers(tmp_path: Path) -> None:
    assert study(tmp_path).translator == PRESETS["paper-cyclegan"].config
    assert study(tmp_path).tested_epochs == (10, 15, 20, 25, 200)


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


def test_paths_lie_beside_the_recipe_wherever_the_reader_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    classifiers = [
        {"name": "a", "train": {"weights": "w/a.safetensors"}},
        {"name": "b", "external": {"file": "../b.onnx", "classes": ["x", "y"]}},
        {"name": "c", "train": {"weights": "download"}},
    ]
    source = {"site": "there", "manifest": "m.csv", "root": "/images"}
    path = written(tmp_path / "recipes", changed(classifiers=classifiers, source=source))
    monkeypatch.chdir(tmp_path)
    recipe = expect_kind(read_recipe(path.relative_to(tmp_path)), StudyRecipe)
    here = tmp_path.resolve() / "recipes"
    assert recipe.target.folder == here / "here"
    assert (recipe.source.manifest, recipe.source.root) == (here / "m.csv", Path("/images"))
    first, second, third = recipe.classifiers
    assert first.train is not None
    assert first.train.weights == here / "w" / "a.safetensors"
    assert second.external is not None
    assert second.external.file == tmp_path.resolve() / "b.onnx"
    assert third.train is not None
    assert third.train.weights == "download"


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


def test_other_kinds_of_recipes(tmp_path: Path) -> None:
    sites = {name: STUDY[name] for name in ("source", "target")}
    section = {"preset": "cyclegan-demo"}
    translator = read_recipe(written(tmp_path, {"kind": "translator", "name": "t", **sites, "translator": section}))
    assert isinstance(translator, TranslatorRecipe)
    assert translator.translator == PRESETS["cyclegan-demo"].config
    data = {"kind": "classifier", "name": "c", "site": STUDY["target"], "classifier": {"architecture": "resnet34"}}
    classifier = read_recipe(written(tmp_path, data))
    assert isinstance(classifier, ClassifierTrainingRecipe)
    assert classifier.classifier.architecture == "resnet34"
    with pytest.raises(RecipeError, match="another kind, got kind = 'classifier'"):
        expect_kind(classifier, StudyRecipe)


@pytest.mark.parametrize("path", NO_REVIEWS, ids=lambda path: path.name)
@pytest.mark.parametrize("changes", [[], ["source_fine_tuning=false"]], ids=["as it is", "without source fine-tuning"])
def test_a_run_folder_holds_the_recipe_in_full(path: Path, changes: list[str], tmp_path: Path) -> None:
    if "study" not in path.read_text():
        changes = []
    recipe = read_recipe(path, changes)
    describe_run(tmp_path / "deep" / "run", recipe, "cpu")
    assert read_recipe(tmp_path / "deep" / "run" / "recipe.toml") == recipe
    run = json.loads((tmp_path / "deep" / "run" / "run.json").read_text())
    assert run["device"] == "cpu"
    assert run["versions"]["torch"] == torch.__version__.split("+")[0] or run["versions"]["torch"] == torch.__version__


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"got nothing: .*nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "content",
    [
        b"kind = ",
        b"\x89PNG\r\n\x1a\n\xff\xfe",
        b"path,site\na.png,x\n",
        b"kind = 'study'\nkind = 'study'",
        b"deep = " + b"[" * 100_000,
        b"\0" * 10,
    ],
    ids=["cut", "png", "csv", "twice", "deep", "zeros"],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"expected TOML, got .*: .*recipe\.toml; correct the file"):
        read_recipe(tmp_path / "recipe.toml")


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="expected a recipe"):
        read_recipe(tmp_path)
    with pytest.raises(RecipeError, match="expected a recipe"):
        read_recipe(written(tmp_path, STUDY) / "below")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecipeError, match="expected a recipe"):
        read_recipe(tmp_path / "pipe")


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


# Several labeled hospitals.


def test_the_first_target_is_ones_own_and_the_others_are_kept(tmp_path: Path) -> None:
    others = [{"site": "public", "folder": "public"}, {"site": "far", "manifest": "far.csv"}]
    recipe = study(tmp_path, target=[STUDY["target"], *others])
    assert recipe.target.site == "here"
    assert [site.site for site in recipe.further_targets] == ["public", "far"]
    assert all(
        path is None or path.is_absolute() for site in recipe.further_targets for path in (site.folder, site.manifest)
    )
    describe_run(tmp_path / "run", recipe, "cpu")
    assert expect_kind(read_recipe(tmp_path / "run" / "recipe.toml"), StudyRecipe) == recipe


def test_one_target_is_written_as_before(tmp_path: Path) -> None:
    assert "further_targets" not in study(tmp_path).model_dump(mode="json")
    assert study(tmp_path, target=[STUDY["target"]]) == study(tmp_path)


def test_targets_are_refused_without_any_and_with_one_twice(tmp_path: Path) -> None:
    assert "expected [target], or [[target]] once or more" in refusal(tmp_path, target=[])
    assert "names of sites that differ" in refusal(tmp_path, target=[STUDY["target"], STUDY["target"]])
    assert "unknown key target.1.wrong" in refusal(
        tmp_path, target=[STUDY["target"], {"site": "x", "folder": "x", "wrong": 1}]
    ).replace("further_targets.0", "target.1")


@pytest.mark.parametrize(
    ("stated", "fault"),
    [
        ({"crop_px": 90, "crop_um": 18.0}, "expected crop_px or crop_um, got both"),
        ({"um_per_px": 0.1}, "expected um_per_px together with crop_um"),
        ({"crop_um": 1.0}, "greater than or equal to 5"),
    ],
)
def test_a_crop_is_stated_once(stated: dict[str, float], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        SiteRecipe(site="a", folder=Path("a"), **stated)
