"""Stages of a long job: each has a folder, is done once for the same inputs, and is resumed after an interruption."""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from hemabridge.errors import RunError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import TEMPORARY, atomic_write

INPUTS = "stage-inputs.json"
DONE = "stage-done.json"

RESULTS: Final = (".npy", ".json", ".csv")
"""Suffixes of files that later stages read. If such a file is missing or has another size, the stage is done again."""

_KIND: Final = FileKind("the record of a stage", RunError, "remove its folder, and run the same command again")


@dataclass(frozen=True)
class _Record:
    """The content of `stage-inputs.json` and `stage-done.json`.

    Attributes:
        key: hash of the inputs.
        seconds, cpu_seconds: total of all calls that worked on the stage.
        files: size in bytes of each of `RESULTS`, by its name; None if not yet known.
    """

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    key: str
    seconds: Annotated[float, Field(ge=0)] | None = None
    cpu_seconds: Annotated[float, Field(ge=0)] | None = None
    files: dict[str, int] | None = None


_RECORD: Final = TypeAdapter(_Record)


StageListener: TypeAlias = Callable[[str, float | None], None]
"""Called as `listener(name, None)` when a stage begins, and with the seconds of all calls when it is done."""

BEAT_SECONDS: Final = 20.0
"""Interval at which the seconds of a running stage are written: a kill loses at most so many."""


class Stages:
    """The stages below one folder; `listener` is called at the beginning and the end of each."""

    def __init__(self, folder: Path, listener: StageListener | None = None) -> None:
        self.folder, self.listener = folder, listener

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path], None],
        tidy: Callable[[Path], None] | None = None,
    ) -> Path:
        """Return the stage's folder after `work(folder)` was done for exactly these `inputs` (JSON).

        A stage that is finished for the same inputs is not done again, unless its record is damaged, or one of
        `RESULTS` is missing or has another size. An interrupted stage with the same inputs continues in its folder. The
        folder of a stage with other inputs is removed first. `tidy(folder)` removes files that a finished stage does
        not need.

        Raises:
            RunError: the folder holds files that no stage wrote; or a result is damaged, and the files that it was made
                from were removed by `tidy`.
        """
        folder = self.folder / name
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        if _key_in(folder / INPUTS) != key and folder.exists():
            _remove_own(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / DONE).is_file():
            damaged = _damaged_in(folder, key)
            if damaged is None:
                record = _read(folder / DONE)
                self._tell(name, 0.0 if record is None else record.seconds or 0.0)
                return folder
            if tidy is not None:
                raise RunError(
                    f"expected the results of a finished stage, got a damaged or missing file: {damaged}; restore it, "
                    f"or remove {folder} to have the stage done again"
                )
        begun = {"key": key, "inputs": inputs}
        spent = _Clock(_read(folder / INPUTS))
        _write_json(folder / INPUTS, begun | spent.seconds())
        self._tell(name, None)
        try:
            with _beating(lambda: _write_json(folder / INPUTS, begun | spent.seconds())):
                work(folder)
        except BaseException:
            if folder.is_dir():
                _write_json(folder / INPUTS, begun | spent.seconds())
            raise
        seconds = spent.seconds()
        done = {"key": key, **seconds}
        _write_json(folder / DONE, done)
        if tidy is not None:
            tidy(folder)
        if folder.is_dir():
            _write_json(folder / DONE, done | {"files": _sizes(folder)})
        self._tell(name, seconds["seconds"])
        return folder

    def _tell(self, name: str, seconds: float | None) -> None:
        if self.listener is not None:
            self.listener(name, seconds)

    def key(self, name: str) -> str:
        """Return the key of a finished stage; stages that depend on it include it in their inputs."""
        return str(_key_in(self.folder / name / DONE))

    def seconds(self) -> dict[str, float]:
        """Return the wall-clock seconds of each finished stage, over all calls.

        Of a call that was killed the last `BEAT_SECONDS` may be missing.
        """
        found = {path: _read(path) for path in sorted(self.folder.rglob(DONE))}
        return {
            path.parent.relative_to(self.folder).as_posix(): round(record.seconds, 1)
            for path, record in found.items()
            if record is not None and record.seconds is not None
        }


@contextmanager
def _beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every `BEAT_SECONDS` in another thread, so that the seconds of a stage survive a kill."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(OSError):  # the work may have removed its folder, or the disk is full
                beat()

    thread = threading.Thread(target=run, name="stage-clock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Clock:
    """Counts the seconds of this call, added to those of earlier ones."""

    def __init__(self, before: _Record | None) -> None:
        self._before = (0.0, 0.0) if before is None else (before.seconds or 0.0, before.cpu_seconds or 0.0)
        self._started, self._cpu = time.monotonic(), time.process_time()

    def seconds(self) -> dict[str, float]:
        seconds, cpu_seconds = self._before
        return {
            "seconds": seconds + time.monotonic() - self._started,
            "cpu_seconds": cpu_seconds + time.process_time() - self._cpu,
        }


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
    shutil.rmtree(folder)  # INPUTS is removed last, so that after a kill the folder is still recognized


def _strangers_in(folder: Path) -> bool:
    """Return whether a folder without a stage's record holds files; hidden ones are left by interrupted writes."""
    return not (folder / INPUTS).is_file() and any(not path.name.startswith(TEMPORARY) for path in folder.iterdir())


def _read(path: Path) -> _Record | None:
    """Return a stage's record; None if there is none, or it is damaged."""
    try:
        return _KIND.read_as(path, _RECORD)
    except RunError:
        return None


def _key_in(path: Path) -> str | None:
    record = _read(path)
    return None if record is None else record.key


def _damaged_in(folder: Path, key: str) -> Path | None:
    """Return a damaged file of a stage that was finished for these inputs; None if there is none."""
    record = _read(folder / DONE)
    if record is None or record.key != key or None in (record.seconds, record.cpu_seconds):
        return folder / DONE
    changed = dict((record.files or {}).items() - _sizes(folder).items())
    return folder / min(changed) if changed else None


def _sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of a stage's results in bytes, without those of stages within it, which have own records."""
    found = {}
    for path in folder.iterdir():
        if path.suffix in RESULTS and path.name not in (INPUTS, DONE) and not path.name.startswith("."):
            found[path.name] = path.stat().st_size
    return found


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2), encoding="utf-8")
