"""What is installed with: every requirement is pinned, every pin is needed by something and has its hashes."""

import importlib.util
import os
import re
import tomllib
from importlib.metadata import distributions, requires
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
USERS, DEVELOPERS = ROOT / "constraints.txt", ROOT / "constraints-dev.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


class Pin(NamedTuple):
    """A pin as it stands in a file."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def pins(path: Path) -> list[Pin]:
    """Read a file's pins; a line that is none is an error."""
    found = []
    for line in path.read_text(encoding="utf-8").replace("\\\n", "").splitlines():
        if line.startswith("#") or line == f"--requirement {USERS.name}":
            continue
        match = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)(?: ; ([^\\]+?))?((?: +--hash=sha256:[0-9a-f]{64})*)\s*", line)
        assert match is not None, f"no pin: {line}"
        found.append(Pin(match[1], match[2], match[3] or "", tuple(re.findall("[0-9a-f]{64}", match[4]))))
    return found


ALL_PINS = [*pins(USERS), *pins(DEVELOPERS)]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("constraints", ROOT / ".ci" / "constraints.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_pin_stands_once_and_has_a_hash() -> None:
    names = [pin.name for pin in ALL_PINS]
    assert len(names) == len(set(names)) > 100
    assert [pin.name for pin in ALL_PINS if not pin.hashes] == []


def test_a_compiled_package_has_a_hash_for_each_kind_of_computer() -> None:
    hashes = {pin.name: len(pin.hashes) for pin in ALL_PINS}
    assert {name: hashes[name] for name in ("numpy", "torch", "torchvision", "mypy", "jinja2")} == {
        "numpy": 3,
        "torch": 3,
        "torchvision": 3,
        "mypy": 3,
        "jinja2": 1,
    }
    assert {pin.marker for pin in ALL_PINS} == {"", 'sys_platform == "linux"'}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ([USERS], PROJECT["project"]["dependencies"]),
        ([USERS], PROJECT["build-system"]["requires"]),
        *(
            ([USERS] if extra in ("train", "review", "dicom", "slides") else [USERS, DEVELOPERS], lines)
            for extra, lines in PROJECT["project"]["optional-dependencies"].items()
        ),
    ],
)
def test_every_requirement_of_the_project_is_pinned_within_its_bounds(files: list[Path], wanted: list[str]) -> None:
    pinned = {pin.name: pin.version for path in files for pin in pins(path)}
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not pinned: make constraints"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} is pinned to {pinned[name]}"


def test_this_environment_is_what_is_pinned_and_every_pin_is_needed(script: ModuleType) -> None:
    """Walked through the metadata of what is installed, from pyproject.toml."""
    here = [pin for pin in ALL_PINS if not pin.marker or Marker(pin.marker).evaluate()]
    installed = {canonicalize_name(found.metadata["Name"]): found.version for found in distributions()}
    missing = [pin.name for pin in here if pin.name not in installed]
    if missing and "CI" not in os.environ:
        pytest.skip(f"this environment was not made from the present pins, {missing} are missing: make")
    assert missing == []
    installed = {pin.name: installed[pin.name] for pin in here}
    assert installed == {pin.name: pin.version for pin in here}
    needs = {name: requires(name) or [] for name in installed}
    users, developers = script.roots(PROJECT)
    assert script.reached([*users, *developers], needs, {}) == set(installed)
    assert script.reached(users, needs, {}) == {pin.name for pin in pins(USERS)} & set(installed)


def test_what_is_reached_follows_extras_and_markers(script: ModuleType) -> None:
    needs = {
        "a": ["B_b[fast]>=1", "c; sys_platform == 'darwin'", "d; extra == 'other'"],
        "b-b": ["e; extra == 'fast'", "f; extra == 'slow'"],
        "c": ["a"],
        "d": [],
        "e": [],
        "f": [],
    }
    assert script.reached(["a"], needs, {"sys_platform": "linux"}) == {"a", "b-b", "e"}
    assert script.reached(["a[other]"], needs, {"sys_platform": "darwin"}) == {"a", "b-b", "c", "d", "e"}


def test_nothing_is_installed_without_hashes() -> None:
    """In make and in the documents: a constraint with hashes cannot be used with the package's own folder."""
    places = [ROOT / "Makefile", ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    installs = [
        line.strip() for path in places for line in path.read_text("utf-8").splitlines() if "pip install" in line
    ]
    of_pins = [line for line in installs if "constraints" in line]
    assert len(of_pins) >= 3
    assert [line for line in of_pins if "--require-hashes --requirement constraints" not in line] == []
    own = [line for line in installs if line.endswith(" .")]
    assert len(own) == len(of_pins)
    assert [line for line in own if "--no-deps --no-build-isolation" not in line] == []
