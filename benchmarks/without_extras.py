"""What `pip install hemabridge` alone installs: its size, what takes the most, and the time of a start.

    python benchmarks/without_extras.py [--bundle FILE]

Nothing is fetched. An environment is made of the wheel of this repository and of links to the installed packages that
it requires without extras; what a package of an extra alone requires is not in it.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5
SHOWN = 8


def required() -> set[str]:
    """Return the names of all packages that this repository requires without extras, as they are installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    left, seen = [Requirement(line) for line in project["dependencies"]], set[tuple[str, str]]()
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = [Requirement(line) for line in distribution(name).requires or []]
                left += [one for one in needs if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def sizes(names: set[str]) -> dict[str, int]:
    """Return the installed bytes of each package."""
    found = {}
    for name in names:
        paths = [Path(str(file.locate())) for file in distribution(name).files or []]
        found[name] = sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
    return found


def make_environment(folder: Path) -> Path:
    """Make an environment with the wheel of this repository and what it requires; return its `bin`."""
    wheels = folder / "wheels"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    home = folder / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    packages = next((home / "lib").glob("python*")) / "site-packages"
    for name in required():
        for file in distribution(name).files or []:
            first = file.parts[0]
            link = packages / first
            if first not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(Path(str(distribution(name).locate_file(first))).resolve())
    wheel = next(wheels.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--no-compile", str(wheel)], check=True)
    return home / "bin"


def seconds(command: list[str]) -> float:
    """Return the median processor time of a command, which other programs disturb less than the time of the clock."""
    taken = []
    for _ in range(RUNS):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, env=clean_environment())
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    return statistics.median(taken)


def clean_environment() -> dict[str, str]:
    """Return the variables of this process without those that lead to other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def main() -> None:
    """Print sizes and times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path)
    given = parser.parse_args()
    found = sizes(required())
    largest = sorted(found.items(), key=lambda each: -each[1])[:SHOWN]
    print(f"pip install hemabridge: {len(found)} packages, {sum(found.values()) / 1e6:.0f} MB")
    print("  " + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in largest))
    with tempfile.TemporaryDirectory() as name:
        programs = make_environment(Path(name))
        python, own = str(programs / "python"), str(programs / "hemabridge")
        print(f"import hemabridge: {seconds([python, '-c', 'import hemabridge']):.2f} CPU s (median of {RUNS})")
        print(f"hemabridge --help: {seconds([own, '--help']):.2f} CPU s")
        print(f"open_model imported: {seconds([python, '-c', 'from hemabridge import open_model']):.2f} CPU s")
        if given.bundle is not None:
            print(f"hemabridge verify: {seconds([own, 'verify', str(given.bundle)]):.2f} CPU s")


if __name__ == "__main__":
    main()
