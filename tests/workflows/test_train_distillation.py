from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import ModelError, RecipeError
from hemabridge.models import open_model
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.trainings import DistillationRecipe
from hemabridge.storage.files import sha256_of
from hemabridge.training.run_context import start_fabric
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.student import read_fidelities
from hemabridge.workflows.train import open_teacher, train

RECIPE = """
kind = "distillation"
name = "copy"
teacher = "teacher.json"
[site]
site = "yellow-field"
manifest = "{hospitals}/yellow-field/manifest.csv"
[translator]
preset = "distillation"
load_px = 36
crop_px = 32
epoch_images = 16
snapshot_every_epochs = 10
"""


@pytest.fixture
def recipe(hospitals: Path, tmp_path: Path) -> Path:
    """A recipe beside its teacher, a normalizer."""
    yellow, white = (np.full((2, 8, 8, 3), color, np.uint8) for color in ((240, 225, 150), (245, 240, 235)))
    (tmp_path / "teacher.json").write_text(WhitePoint.fit(yellow, white).to_json(), encoding="utf-8")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(hospitals=hospitals), encoding="utf-8")
    return path


def test_a_recipe_distils_a_normalizer_and_then_the_copy_itself(recipe: Path, tmp_path: Path) -> None:
    wanted = expect_kind(read_recipe(recipe), DistillationRecipe)
    assert wanted.translator.batch_size == PRESETS["distillation"].config.batch_size
    last = train(wanted, tmp_path / "copy", fabric=start_fabric("cpu"))[-1]
    assert read_header(last.path)["teacher"] == sha256_of(tmp_path / "teacher.json")
    assert read_fidelities(tmp_path / "copy")[last.name].cells >= 1
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)
    assert open_model(last.path).cell_standardizer().standardize(images).shape == images.shape
    again = expect_kind(read_recipe(recipe, [f"teacher={last.path}"]), DistillationRecipe)
    assert read_header(train(again, tmp_path / "again", fabric=start_fabric("cpu"))[-1].path)["teacher"] == sha256_of(
        last.path
    )


def test_a_student_of_another_kind_is_refused(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r'translator: .*expected model\.kind = "distillation"'):
        read_recipe(recipe, ["translator.preset=cyclegan-demo"])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.json", None, "got nothing or a folder"),
        ("long.json", "{" + " " * 1_000_000, "1,000,001"),
        ("other.json", "{}", 'with the key "method"'),
        ("other.safetensors", "no model", "other.safetensors"),
    ],
)
def test_what_is_no_teacher_is_refused(name: str, content: str | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=told):
        open_teacher(tmp_path / name)
