"""What the repository shows to whoever opens it: sizes, docstrings, what is packaged, and nothing private."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from source_trees import MODULES, PACKAGE, ROOT, TESTS, nodes_of, tree_of

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def tracked() -> list[Path]:
    """Return all files under version control that hold text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in (".png", ".jpg", ".tif", ".dcm")]


def is_public(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return not node.name.startswith("_")


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in MODULES if not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_every_public_class_and_function_is_documented() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and is_public(node) and not ast.get_docstring(node)
    ]
    assert silent == []


def test_files_and_functions_stay_short() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES + TESTS}
    assert [path for path, text in texts.items() if text.count("\n") >= MAX_FILE_LINES] == []
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in MODULES
        for node in nodes_of(tree_of(path))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_package_is_a_junk_drawer() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "base", "core", "tools", "lib"}
    assert [path for path in MODULES if drawers & {path.stem, path.parent.name}] == []


def test_what_is_read_at_run_time_is_packaged() -> None:
    templates = files("hemabridge.report") / "templates"
    assert {"study.html.j2", "study.css"} <= {entry.name for entry in templates.iterdir()}
    pages = files("hemabridge.review")
    assert {"reading.html.j2", "welcome.html.j2"} <= {entry.name for entry in (pages / "templates").iterdir()}
    assert {"review.css", "review.js"} == {entry.name for entry in (pages / "static").iterdir()}
    assert (pages / "texts.json").is_file()
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    assert schema["title"] == "hemabridge study results"
    assert (files("hemabridge") / "py.typed").is_file()


def test_the_wheel_holds_the_whole_package_and_nothing_else() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/hemabridge"]
    data = {path.suffix for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert data == {".py", ".typed", ".json", ".css", ".j2", ".js"}


def test_every_package_that_is_imported_is_required() -> None:
    """By name of the distribution; what only some commands import stands in the extras for users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(
            line
            for extra in ("train", "review", "dicom", "slides", "scale")
            for line in project["optional-dependencies"][extra]
        ),
    ]
    names = {re.split(r"[<>=\[ ]", line)[0].lower().replace("-", "_") for line in required}
    imported_as = {
        "pil": "pillow",
        "skimage": "scikit_image",
        "sklearn": "scikit_learn",
        "openslide": "openslide_python",
    }
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for path in MODULES
        for node in nodes_of(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    foreign = {name.lower() for name in imported - sys.stdlib_module_names - {"hemabridge"}}
    assert {imported_as.get(name, name) for name in foreign} - names == set()


PRIVATE = {
    "a path of one machine": r"(?<![\w.])/(?:work|root|farm|home|Users|tmp|mnt|opt)/(?!\.\.)\w",
    "an address of a package registry": r"pypi\.org|pythonhosted\.org|registry\.npmjs|conda\.anaconda\.org|--index-url",
    "an address inside of a network": r"://(?:10|192\.168|172\.16)\.\d+",
    "a key": r"BEGIN [A-Z ]*PRIVATE KEY|\b(?:ghp|hf|sk)_[A-Za-z0-9]{20,}",
}


@pytest.mark.parametrize("what", PRIVATE)
def test_no_tracked_file_holds(what: str) -> None:
    pattern = re.compile(PRIVATE[what])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    assert found == []


def test_large_and_made_files_are_not_tracked() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    made = {".safetensors", ".npy", ".onnx", ".pt", ".pth", ".log", ".pyc"}
    assert [path for path in paths if path.suffix in made or path.parts[0] == "runs"] == []
    assert [path for path in paths if (ROOT / path).is_file() and (ROOT / path).stat().st_size > 1_000_000] == []


SAME_IDEA = {
    "catalog.py": "what can be chosen by name in a room, and the command that lists it",
    "config.py": "the settings of a room, without PyTorch",
    "files.py": "files in general, and image files",
    "header.py": "what the file of a model says of it, of each kind of model",
    "index.py": "the command, and its work",
    "inputs.py": "what all steps share, of a study, a synthesis and a run of `adapt`",
    "learning_curve.py": "the rare-class curve: its settings, its numbers, its figure",
    "restaining.py": "the commands that re-stain, and the model behind them",
    "restyle.py": "the command, and its work",
    "serve.py": "what is served until a signal: the pages of a review, a model",
    "synthesis.py": "the commands and the recipe of a synthesis",
    "train.py": "the command, and its work",
    "unblind.py": "the command, and its work",
}
"""File names that several rooms may share, and what they mean in each: the same."""


def test_a_file_name_that_rooms_share_means_the_same_in_each() -> None:
    names = Counter(path.name for path in MODULES if path.name != "__init__.py")
    shared = {name for name, count in names.items() if count > 1}
    assert sorted(shared - SAME_IDEA.keys()) == []
    assert sorted(SAME_IDEA.keys() - shared) == []
