"""The map says what is there: its files exist, and its walks go down the rooms."""

import ast
import re
import shutil
import sys
import tomllib
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from hemabridge.cli import main
from hemabridge.guard.thresholds import floors
from hemabridge.imaging.files import write_image
from hemabridge.models.guard_file import Guard, guard_path
from hemabridge.storage.files import sha256_of

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


@pytest.mark.slow
def test_every_file_of_the_first_walk_runs_in_a_real_call(
    small_snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each but the first is called by one before it; the engine, which the page names, calls the third."""
    model = tmp_path / small_snapshot.name
    shutil.copy(small_snapshot, model)
    Guard(model=sha256_of(model), thresholds=floors()).write(guard_path(model))
    (tmp_path / "images").mkdir()
    cell = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    write_image(tmp_path / "images" / "cell.png", cell)
    monkeypatch.setattr(sys, "argv", ["hemabridge", "standardize", str(model), f"{tmp_path}/images", f"{tmp_path}/out"])
    callers: dict[str, set[str]] = {}

    def called(frame: FrameType, event: str, _: object) -> None:
        name, by = inside(frame), frame.f_back
        if event == "call" and name is not None and frame.f_code.co_name != "<module>":
            while by is not None and inside(by) is None:
                by = by.f_back
            callers.setdefault(name, set()).add("" if by is None else inside(by) or "")

    sys.setprofile(called)
    try:
        with pytest.raises(SystemExit, match="0"):
            main()
    finally:
        sys.setprofile(None)
    title = next(title for title in WALKS if "`standardize`" in title)
    names = ["cli/app.py", *(name for name, _ in WALKS[title])]
    reached = {"workflows/standardize/one_image.py": {"imaging/threads.py"}}
    for place, name in enumerate(names[1:], 1):
        assert callers[name] & ({*names[:place]} | reached.get(name, set())), (name, callers[name])


def inside(frame: FrameType) -> str | None:
    """Return the file of a frame within the package, or None."""
    return within(frame.f_code.co_filename)


@cache
def within(path: str) -> str | None:
    return Path(path).relative_to(SOURCE).as_posix() if Path(path).is_relative_to(SOURCE) else None


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
