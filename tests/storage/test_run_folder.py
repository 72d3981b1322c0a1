"""The folder of a run: its own, never one of images."""

from pathlib import Path

import pytest

from hemabridge.errors import InputError
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.storage.run_folder import check_run_folder
from hemabridge.workflows.demo import demo
from hemabridge.workflows.study.study import study


def test_a_new_an_empty_and_an_earlier_runs_folder_are_taken(tmp_path: Path) -> None:
    check_run_folder(tmp_path / "new", "study")
    check_run_folder(tmp_path, "study")
    (tmp_path / ".lock").touch()
    check_run_folder(tmp_path, "study")
    (tmp_path / "simulated").mkdir()  # by a demo that was stopped
    check_run_folder(tmp_path, "study")
    (tmp_path / "recipe.toml").touch()
    (tmp_path / "results.json").touch()
    check_run_folder(tmp_path, "study")


def test_a_folder_of_something_else_is_not_written_into(small_study: Path, tmp_path: Path) -> None:
    images = tmp_path / "ours"
    (images / "neutrophil").mkdir(parents=True)
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    for begin in (lambda: study(recipe, images), lambda: demo(images)):
        with pytest.raises(InputError, match="which holds 'neutrophil' and no recipe"):
            begin()
    assert [path.name for path in images.iterdir()] == ["neutrophil"]


@pytest.mark.parametrize("content", ['kind = "adapt"\n', 'kind = "translator"\n', "mine = 1\n"])
def test_the_folder_of_a_run_of_another_kind_is_not_written_into(
    small_study: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "recipe.toml").write_text(content)
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    for begin in (lambda: study(recipe, tmp_path), lambda: demo(tmp_path)):
        with pytest.raises(InputError, match=r"earlier run of kind 'study', got .*, which holds a run of kind"):
            begin()
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]
    assert (tmp_path / "recipe.toml").read_text() == content


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="got a file"):
        check_run_folder(tmp_path / "out", "study")
