"""Recipes are read, checked and explained without an import of PyTorch."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
BLOCKED = """
import sys
from importlib.machinery import ModuleSpec

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "lightning_fabric"):
            return ModuleSpec(name, self)

    def create_module(self, spec):
        raise ImportError(f"{spec.name} was imported")

    def exec_module(self, module):
        raise ImportError(f"{module.__name__} was imported")

sys.meta_path.insert(0, Blocked())
"""
"""PyTorch can be found, which libraries may ask, but not imported.

A module that is set to None in `sys.modules` counts as imported for SciPy, which then asks it for its arrays.
"""

READ = """
import json
from pathlib import Path
from hemabridge.errors import RecipeError
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.review import KIND, read_plan
import hemabridge.recipes.sites

told = {}
for path in map(Path, sys.argv[1:]):
    read = read_plan if f'kind = "{KIND}"' in path.read_text() else read_recipe
    try:
        told[path.name] = json.loads(read(path).model_dump_json())
    except RecipeError as error:
        told[path.name] = str(error)
print(json.dumps(told))
"""


def told_of(program: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + program, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every recipe of the repository with a key that does not exist."""
    folder = tmp_path_factory.mktemp("broken")
    paths = []
    for path in sorted(RECIPES.glob("*.toml")):
        paths.append(folder / path.name)
        paths[-1].write_text("sed = 1\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    return paths


@pytest.mark.parametrize("module", ["torch", "torch.nn", "hemabridge.training.devices"])
def test_whoever_imports_pytorch_is_stopped(module: str) -> None:
    ended = told_of(f"import {module}")
    assert (ended.returncode, "was imported" in ended.stderr) == (1, True), ended.stderr


def test_every_recipe_is_read_and_checked() -> None:
    paths = sorted(RECIPES.glob("*.toml"))
    ended = told_of(READ, *paths)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert sorted(told) == [path.name for path in paths]
    for path in paths:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
        assert (told[path.name]["kind"], told[path.name]["name"]) == (own["kind"], own["name"])


def test_every_fault_is_explained(broken: list[Path]) -> None:
    ended = told_of(READ, *broken)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert sorted(told) == [path.name for path in broken]
    for path in broken:
        assert told[path.name] == f"{path} cannot be used:\n  unknown key sed; did you mean 'seed'?"
