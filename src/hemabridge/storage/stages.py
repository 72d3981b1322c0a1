"""Stages of a long job: each has a folder, is done once for the same inputs, and is resumed if it was cut off."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hemabridge.errors import RunError
from hemabridge.storage.files import TEMPORARY, atomic_write

INPUTS = "stage-inputs.json"
DONE = "stage-done.json"


class Stages:
    """The stages below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path], None],
        tidy: Callable[[Path], None] | None = None,
    ) -> Path:
        """Return the stage's folder after `work(folder)` was done for exactly these `inputs` (JSON).

        A stage that is done for the same inputs is not done again. One that was begun for the same inputs gets its
        folder as it was left. One of other inputs is removed first. `tidy(folder)` removes what a finished stage does
        not need.

        Raises:
            RunError: the folder holds files that no stage wrote.
        """
        folder = self.folder / name
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        if _key_in(folder / INPUTS) != key and folder.exists():
            _remove_own(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if _key_in(folder / DONE) == key:
            return folder
        begun = {"key": key, "inputs": inputs}
        spent = _Clock(_spent_in(folder / INPUTS))
        _write_json(folder / INPUTS, begun | spent.seconds())
        try:
            work(folder)
        except BaseException:
            if folder.is_dir():
                _write_json(folder / INPUTS, begun | spent.seconds())
            raise
        _write_json(folder / DONE, {"key": key, **spent.seconds()})
        if tidy is not None:
            tidy(folder)
        return folder

    def key(self, name: str) -> str:
        """Return the key of a stage that was done; what follows from it names it among its inputs."""
        return str(_key_in(self.folder / name / DONE))

    def seconds(self) -> dict[str, float]:
        """Return the wall seconds that each finished stage took, in all its sittings but those that were killed."""
        found = sorted(self.folder.rglob(DONE))
        return {
            path.parent.relative_to(self.folder).as_posix(): round(json.loads(path.read_text())["seconds"], 1)
            for path in found
        }


class _Clock:
    """Counts the seconds of this sitting on top of those of earlier ones."""

    def __init__(self, before: Mapping[str, float]) -> None:
        self._before, self._started, self._cpu = before, time.monotonic(), time.process_time()

    def seconds(self) -> dict[str, float]:
        now = {"seconds": time.monotonic() - self._started, "cpu_seconds": time.process_time() - self._cpu}
        return {name: value + self._before.get(name, 0.0) for name, value in now.items()}


def _remove_own(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir() or _strangers_in(folder):
        raise RunError(
            f"expected a new folder or one of an earlier run, but {folder} holds files that no run wrote; "
            "choose another output folder"
        )
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != INPUTS:
            path.unlink()
    shutil.rmtree(folder)  # INPUTS goes last: a call that is killed here must know the folder as its own


def _strangers_in(folder: Path) -> bool:
    """Tell whether files lie here and no stage said that it would; a killed write of INPUTS leaves a hidden file."""
    return not (folder / INPUTS).is_file() and any(not path.name.startswith(TEMPORARY) for path in folder.iterdir())


def _key_in(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["key"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None  # no record, or a damaged one


def _spent_in(path: Path) -> dict[str, float]:
    """Return the seconds that earlier sittings of a stage took; none where it was not begun."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(found[name]) for name in ("seconds", "cpu_seconds")}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2), encoding="utf-8")
