"""The map says what is there: its files exist, and its walks go down the rooms."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "hemabridge"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LAYERS = next(
    contract["layers"] for contract in PROJECT["tool"]["importlinter"]["contracts"] if contract["type"] == "layers"
)
MOST_FILES = 8

WALKS = {
    title: re.findall(r"^\| \d+ \| `([\w/.]+)` \| (.*) \|$", text, re.MULTILINE)
    for title, text in re.findall(r"^### (One .*)\n((?:(?!^#).*\n)*)", PAGE, re.MULTILINE)
}


def layer_of(name: str) -> int:
    room = name.partition("/")[0]
    return next(place for place, layer in enumerate(LAYERS) if room in layer.split(" | "))


def imported_by(name: str) -> set[str]:
    """Return what a file imports of hemabridge, as modules and as names of packages."""
    tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {node.module for node in nodes} | {f"{node.module}.{each.name}" for node in nodes for each in node.names}


def test_there_are_three_walks() -> None:
    assert len(WALKS) == 3


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_takes_few_files_and_only_goes_down(title: str) -> None:
    names = [name for name, _ in WALKS[title]]
    assert 2 < len(names) == len(set(names)) <= MOST_FILES
    layers = [layer_of(name) for name in names]
    assert layers == sorted(layers)


@pytest.mark.parametrize("title", WALKS)
def test_each_step_of_a_walk_is_reached_from_one_before_it(title: str) -> None:
    reached: set[str] = set()
    for place, (name, text) in enumerate(WALKS[title]):
        module = "hemabridge." + name.removesuffix(".py").replace("/", ".")
        # What a package exports is reached by its name: `hemabridge.models.open_model`.
        exported = {f"{module.rpartition('.')[0]}.{each}" for each in public_names(name)}
        assert place == 0 or text.startswith("through ") or module in reached or exported & reached, name
        reached |= imported_by(name)


def public_names(name: str) -> set[str]:
    tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_every_file_that_the_page_names_exists() -> None:
    rooms = "|".join(path.name for path in SOURCE.iterdir() if path.is_dir())
    named = set(re.findall(rf"`(?:src/hemabridge/)?((?:{rooms})/[\w/.]+\.\w+)", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (SOURCE / name).is_file()] == []


def test_the_picture_shows_every_layer_in_its_order() -> None:
    picture = PAGE[PAGE.index("```\n") + 4 :]
    lines = picture[: picture.index("```")].splitlines()
    shown = [line.partition("  ")[0].split(" | ") for line in lines if line[0] not in " ─"]
    assert [set(rooms) for rooms in shown] == [set(layer.split(" | ")) for layer in LAYERS]
