import json
import os
import tomllib
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from written_recipes import STUDY, changed, study, written

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
