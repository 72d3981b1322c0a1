"""Recipes are read, checked and explained without an import of PyTorch."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

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
        told[str(path)] = json.loads(read(path).model_dump_json())
    except RecipeError as error:
        told[str(path)] = str(error)
print(json.dumps(told))
"""


def told_of(program: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + program, *map(str, arguments)],
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


STOPPED = """
for module in sys.argv[1:]:
    try:
        __import__(module)
    except ImportError as error:
        print(error)
"""


def test_whoever_imports_pytorch_is_stopped() -> None:
    ended = told_of(STOPPED, "torch", "torch.nn", "hemabridge.training.run_context")
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert len(told) == 3
    assert [line for line in told if not line.endswith("was imported")] == []


@pytest.fixture(scope="module")
def told(broken: list[Path]) -> dict[str, Any]:
    """What a process without PyTorch reads in every recipe, or says of it, by its path; sound and broken ones."""
    ended = told_of(READ, *sorted(RECIPES.glob("*.toml")), *broken)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_every_recipe_is_read_and_checked(told: dict[str, Any]) -> None:
    paths = sorted(RECIPES.glob("*.toml"))
    assert len(paths) > 5
    for path in paths:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
        assert (told[str(path)]["kind"], told[str(path)]["name"]) == (own["kind"], own["name"])


def test_every_fault_is_explained(told: dict[str, Any], broken: list[Path]) -> None:
    for path in broken:
        assert told[str(path)] == f"{path} cannot be used:\n  unknown key sed; did you mean 'seed'?"


CLI = """
import contextlib
import io
import json
from hemabridge.cli import main

told = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["hemabridge", *arguments]
    errors, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stderr(errors):
            main()
    except SystemExit as ended:
        code = ended.code
    told.append([code, errors.getvalue()])
print(json.dumps(told))
"""
"""Runs commands one after the other in one interpreter that cannot import PyTorch, whose import takes seconds."""


def bad_inputs(hospitals: Path, folder: Path) -> list[tuple[list[str], str]]:
    recommended = str(RECIPES / "recommended.toml")
    ours = str(hospitals / "clinic-like" / "manifest.csv")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.doc").write_text("mine", encoding="utf-8")
    (folder / "bad.toml").write_text('kind = "study"\nsed = 1\n', encoding="utf-8")
    table = (hospitals / "truth" / "manifest.csv").read_text(encoding="utf-8").splitlines()
    place = table[0].split(",").index("class")
    rows = [[cell if at != place else "" for at, cell in enumerate(row.split(","))] for row in table[1:]]
    plain = folder / "new.csv"
    plain.write_text("\n".join([table[0], *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    new = ["--source", str(plain), "--source-root", str(hospitals / "truth")]
    no_weights = re.sub(
        r', weights = "[^"]+"', "", Path(recommended).read_text(encoding="utf-8")
    )  # they may be nowhere
    (folder / "no-weights.toml").write_text(no_weights, encoding="utf-8")
    full = ["--source", str(hospitals / "truth"), "--target", ours, "--out", str(folder / "full")]
    return [
        (["study", recommended, *full], "expected a new or empty folder"),
        (["study", str(folder / "bad.toml")], "unknown key sed"),
        (["study", str(RECIPES / "synthesis-demo.toml")], "expected a recipe of another kind"),
        (
            ["study", str(folder / "no-weights.toml"), *new, "--target", ours],
            "hemabridge evaluate STUDY IMAGES OUT --fit",
        ),
        (["study", recommended, "--source", "nowhere", "--target", ours], "expected a manifest"),
        (["train", recommended], "run `hemabridge study"),
        (["synthesize", recommended], "expected a recipe of another kind"),
    ]


def test_the_commands_refuse_bad_input_without_pytorch(hospitals: Path, tmp_path: Path) -> None:
    cases = bad_inputs(hospitals, tmp_path)
    ended = told_of(CLI, json.dumps([arguments for arguments, _ in cases]))
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)  # nothing else is printed
    assert [told for (_, errors), (_, told) in zip(answers, cases, strict=True) if told not in errors] == []
    assert {code for code, _ in answers} == {2}
