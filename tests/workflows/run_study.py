"""Runs the small study with changes, and tells what it did."""

from pathlib import Path

from hemabridge.evaluation.results import StudyResults
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.study import study

Call = tuple[str, int, int]
GIVEN = (
    '{name = "Given", external = {file = "given.safetensors", architecture = "test_resnet", '
    'classes = ["lymphocyte", "blast", "neutrophil"], preprocessing = {size_px = 32}}}'
)
LEAN = ("source_fine_tuning=false", "normalizers=[]", f"classifiers=[{GIVEN}]", "tested_epochs=[2]", "guard=false")
"""Changes that leave of a study the translator, one snapshot and a classifier that is not trained."""


def recipe_of(path: Path, *changes: str) -> StudyRecipe:
    return expect_kind(read_recipe(path, changes), StudyRecipe)


def run(path: Path, out: Path, *changes: str) -> tuple[StudyResults, list[Call]]:
    """Run a study; return also what it told of its progress."""
    calls: list[Call] = []
    results = study(
        recipe_of(path, *changes), out, fabric=start_fabric("cpu"), progress=lambda *call: calls.append(call)
    )
    return results, calls


def trained(calls: list[Call]) -> set[str]:
    """Return what was trained, by what progress said."""
    return {label.removesuffix(": training") for label, _, _ in calls if label.endswith(": training")}
