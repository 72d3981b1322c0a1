"""Write constraints.txt and constraints-dev.txt again: versions, and the hash of a wheel for each kind of computer.

    make constraints                  # after a change of pyproject.toml: the versions stay where they still fit
    make constraints NEWEST=--newest  # the newest versions that pyproject.toml allows

pip finds versions and hashes (`--dry-run --report`); it reads the packages' metadata and installs nothing. It asks PyPI
alone, not what lies on this computer. Run it on Linux, x86_64, with Python 3.11.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
USERS, DEVELOPERS = ROOT / "constraints.txt", ROOT / "constraints-dev.txt"
USED = ("train", "review", "dicom", "slides")
"""The extras of users. `scale`, which only users of a cluster need, is pinned for the tests alone."""
EDITABLE = "editables"  # what the build backend needs for an editable install
PYTHON = "3.11.9"
GLIBC = 28  # 2.28, which the wheels of PyTorch need; no wheel that needs a newer one is listed

LINUX_X86, LINUX_ARM, MAC_ARM = "Linux x86_64", "Linux aarch64", "macOS arm64"
PLATFORMS: dict[str, tuple[dict[str, str], list[str]]] = {
    LINUX_X86: (
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
        [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 4, -1)] + ["manylinux2014_x86_64"],
    ),
    LINUX_ARM: (
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
        [f"manylinux_2_{minor}_aarch64" for minor in range(GLIBC, 16, -1)] + ["manylinux2014_aarch64"],
    ),
    MAC_ARM: (
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
        ["macosx_14_0_arm64"],
    ),
}
MARKERS = {
    frozenset(PLATFORMS): "",
    frozenset({LINUX_X86, LINUX_ARM}): ' ; sys_platform == "linux"',
    frozenset({LINUX_X86}): ' ; sys_platform == "linux" and platform_machine == "x86_64"',
}
ABOUT_USERS = """\
# What hemabridge is installed with, on Python 3.11: all extras but scale, docs and dev, and what builds the package.
#   pip install --require-hashes --requirement constraints.txt
#   pip install --no-deps --no-build-isolation .
# Wheels for Linux on x86_64 and ARM (glibc 2.28 or newer) and for macOS 14 on ARM. Made by: make constraints
"""
ABOUT_DEVELOPERS = """\
# What make and CI install with: all of constraints.txt, and the extras scale, docs and dev. Made by: make constraints
--requirement constraints.txt
"""


def main(newest: bool) -> None:
    """Write both files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    users, developers = roots(project)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "pip", with_pip=True)
        pip(folder, "install", "--upgrade", "pip")
        held = folder / "held.txt"
        held.write_text("" if newest else "".join(f"{name}=={version}\n" for name, version in pinned().items()))
        found = report(folder, ["--use-feature=fast-deps", "--constraint", str(held)], [*users, *developers])
        versions = {name: item["metadata"]["version"] for name, item in found.items()}
        needs = {name: item["metadata"].get("requires_dist", []) for name, item in found.items()}
        places = {
            platform: reached([*users, *developers], needs, environment)
            for platform, (environment, _) in PLATFORMS.items()
        }
        hashes: dict[str, set[str]] = {name: set() for name in versions}
        for platform, (_, tags) in PLATFORMS.items():
            pins = [f"{name}=={versions[name]}" for name in sorted(places[platform])]
            for name, item in report(folder, options(folder, tags), pins).items():
                hashes[name].add(item["download_info"]["archive_info"]["hashes"]["sha256"])
    entries = {
        name: entry(name, version, frozenset(p for p in PLATFORMS if name in places[p]), hashes[name])
        for name, version in sorted(versions.items())
    }
    for_users = set().union(*(reached(users, needs, environment) for environment, _ in PLATFORMS.values()))
    USERS.write_text(ABOUT_USERS + "".join(entries[name] for name in entries if name in for_users))
    DEVELOPERS.write_text(ABOUT_DEVELOPERS + "".join(entries[name] for name in entries if name not in for_users))


def roots(project: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what a user's installation asks for, and what a developer's asks for beside it."""
    extras = project["project"]["optional-dependencies"]
    users = [*project["project"]["dependencies"], *(line for name in USED for line in extras[name])]
    return [*users, *project["build-system"]["requires"]], [*extras["docs"], *extras["scale"], *extras["dev"], EDITABLE]


def pinned() -> dict[str, str]:
    """Return name and version of each present pin."""
    text = "".join(path.read_text("utf-8") for path in (USERS, DEVELOPERS) if path.exists())
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def reached(wanted: Iterable[str], needs: Mapping[str, Iterable[str]], environment: Mapping[str, str]) -> set[str]:
    """Return the names of all that is installed for `wanted` on a computer of this environment."""
    left = [(Requirement(line), "") for line in wanted]
    seen: set[tuple[str, str]] = set()
    while left:
        requirement, asking = left.pop()
        marker = requirement.marker
        if marker is not None and not marker.evaluate(default_environment() | dict(environment) | {"extra": asking}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                left += [(Requirement(line), extra) for line in needs[name]]
    return {name for name, _ in seen}


def options(folder: Path, tags: Iterable[str]) -> list[str]:
    """Return how pip is told of another computer; metadata of a wheel is read without fetching the wheel."""
    platforms = [word for tag in tags for word in ("--platform", tag)]
    where = ["--python-version", PYTHON, "--implementation", "cp", "--target", str(folder / "target")]
    return ["--no-deps", "--use-feature=fast-deps", *where, *platforms]


def report(folder: Path, settings: Iterable[str], wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what pip would install, by name."""
    file = folder / "report.json"
    asked = ["install", "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", str(file)]
    pip(folder, *asked, *settings, *wanted)
    installed = json.loads(file.read_text("utf-8"))["install"]
    return {canonicalize_name(item["metadata"]["name"]): item for item in installed}


def pip(folder: Path, *words: str) -> None:
    """Run pip, which sees none of this computer's own indexes, folders and constraints."""
    own = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT")
    env = {name: value for name, value in os.environ.items() if name not in own} | {"PIP_CONFIG_FILE": os.devnull}
    subprocess.run([folder / "pip" / "bin" / "python", "-m", "pip", "--quiet", *words], env=env, check=True)


def entry(name: str, version: str, platforms: frozenset[str], hashes: Iterable[str]) -> str:
    """Return the lines of a pin."""
    if platforms not in MARKERS:
        sys.exit(
            f"expected {name} on all platforms, on Linux, or on Linux x86_64, got {sorted(platforms)}: add a marker"
        )
    lines = [f"{name}=={version}{MARKERS[platforms]}", *(f"    --hash=sha256:{digest}" for digest in sorted(hashes))]
    return " \\\n".join(lines) + "\n"


if __name__ == "__main__":
    main("--newest" in sys.argv[1:])
