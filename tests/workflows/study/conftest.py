"""One finished study for all tests that only read it."""

from pathlib import Path
from typing import Any

import pytest

from hemabridge.evaluation.results import StudyResults
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.study import study

Call = tuple[str, int, int]


@pytest.fixture(scope="session")
def finished_study(
    small_study: Path, tmp_path_factory: pytest.TempPathFactory, reads: Any
) -> tuple[Path, StudyResults, list[Call]]:
    """The folder of the small study, its results, and what it told of its progress; work on a copy of the folder."""
    out = tmp_path_factory.mktemp("study") / "out"
    calls: list[Call] = []
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    with reads("study"):
        results = study(recipe, out, fabric=start_fabric("cpu"), progress=lambda *call: calls.append(call))
    return out, results, calls
