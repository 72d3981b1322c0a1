"""Run folders: their description, a lock against a second process, and checks that keep originals apart."""

import fcntl
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from hemabridge.errors import InputError, RecipeError, RunError
from hemabridge.storage.files import atomic_write, open_lock, sha256_of
from hemabridge.storage.settings_file import read_toml

RECIPE = "recipe.toml"
"""The complete recipe; every run writes it first."""
DESCRIPTION = "run.json"
"""Versions and device of a run."""
SIMULATED = "simulated"
"""Folder of the simulated images, which a demo makes before its study begins."""
PACKAGES = ("hemabridge", "torch", "timm", "lightning-fabric", "numpy", "scikit-image", "pillow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect numerical results."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def check_run_folder(folder: Path, kind: str) -> None:
    """Make sure that a folder is new, empty or that of an earlier run, so that no other files are mixed with the run's.

    Args:
        folder: the folder; it need not exist.
        kind: what is run, as the key `kind` of its recipe says.

    Raises:
        InputError: it holds other files, or a run of another kind.
    """
    if folder.is_file():
        raise InputError(f"expected a folder for the run, got a file: {folder}")
    if not folder.is_dir():
        return
    if (folder / RECIPE).is_file():
        earlier = kind_of_run(folder)
        if earlier not in (None, kind):
            raise InputError(
                f"expected a new or empty folder, or that of an earlier run of kind {kind!r}, got {folder}, which "
                f"holds a run of kind {earlier!r}; name another folder (--out)"
            )
        return
    found = sorted(path.name for path in folder.glob("[!.]*") if path.name != SIMULATED)
    if found:
        raise InputError(
            f"expected a new or empty folder, or that of an earlier run, got {folder}, which holds "
            f"{found[0]!r} and no {RECIPE}; name another folder (--out)"
        )


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder holds a run, finished or not, of which `describe_run` wrote the description."""
    return (folder / RECIPE).is_file() and (folder / DESCRIPTION).is_file()


def kind_of_run(folder: Path) -> str | None:
    """Return the kind of a run folder, finished or not; None without a recipe, or if it is empty or damaged."""
    if not (folder / RECIPE).is_file():
        return None
    try:
        found = read_toml(folder / RECIPE)
    except RecipeError:
        return None
    return str(found.get("kind", "unknown")) if found else None


def check_outputs(out: Path, others: Iterable[str]) -> None:
    """Make sure that an output folder holds only files of an earlier call of the same command.

    Args:
        out: the folder; it need not exist.
        others: names of other files in it, without hidden files such as locks.

    Raises:
        InputError: it is a file, or `others` is not empty.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"expected a folder to write to, got a file: {out}")
    found = sorted(others)
    if found:
        raise InputError(
            f"expected a new or empty folder, or one of an earlier call, got {found[0]} in {out}; name another"
        )


def check_same_images(folder: Path, out: Path, earlier: Mapping[str, str]) -> None:
    """Check that results of other images are not replaced; images may have been added, changed or taken away.

    Args:
        folder: the images.
        out: the folder of results.
        earlier: the images that those in `out` are of: SHA-256 by path in their folder, empty if unknown.

    Raises:
        InputError: `folder` holds none of them.
    """
    if earlier and not any(_is_still(folder / name, sha256) for name, sha256 in earlier.items()):
        raise InputError(
            f"expected a new or empty folder for the results of {folder}, got {out} with those of other images; name "
            "another one"
        )


def _is_still(image: Path, sha256: str) -> bool:
    return image.is_file() and (not sha256 or sha256_of(image) == sha256)


def names_in(out: Path) -> set[str]:
    """Return the names of all files in a folder except hidden ones; empty if the folder does not exist."""
    return {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.is_dir() else set()


def check_apart(out: Path, *originals: Path) -> None:
    """Make sure that an output folder and the folders of originals do not contain each other.

    Raises:
        InputError: the output folder is a file, or is not separate from a folder of originals.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"expected an output folder, got a file: {out}")
    inside = out.resolve()
    for folder in originals:
        around = folder.resolve()
        if inside.is_relative_to(around) or around.is_relative_to(inside):
            raise InputError(
                f"expected folders of which none is in the other, got {folder} and {out}; originals are never touched, "
                "name another output folder"
            )


def describe_run(folder: Path, recipe: BaseModel, device: str) -> None:
    """Write the complete recipe to `recipe.toml`, and versions and device to `run.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / RECIPE) as temporary:
        temporary.write_text(tomli_w.dumps(_without_none(recipe.model_dump(mode="json"))), encoding="utf-8")
    with atomic_write(folder / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps({"versions": versions(), "device": device}, indent=2), encoding="utf-8")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_none(entry) for entry in value]
    return value


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Lock a run folder for this process; the operating system releases the lock if the process dies.

    Raises:
        RunError: another process holds the lock, or the lock file is a link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = open_lock(folder / ".lock")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"expected a folder that no other process works in, but {folder} is in use; "
                "wait for the other run, or give this one another folder"
            ) from error
        yield
    except KeyboardInterrupt as stop:
        stop.args = (str(folder),)  # the outermost folder is the last one that is left
        raise
    finally:
        os.close(lock)


def stopped_in(error: BaseException | None) -> str:
    """Return the folder that was held when a signal stopped a command; empty if none was.

    Args:
        error: what came of that `KeyboardInterrupt`.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return str(error.args[0]) if error is not None and error.args else ""
