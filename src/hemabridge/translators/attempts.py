"""The record of several attempts of one training with different seeds, and of the reasons why some were stopped."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lightning_fabric import Fabric

from hemabridge.errors import RunError
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write
from hemabridge.storage.run_folder import hold_folder
from hemabridge.training.checkpoints import read_newest_checkpoint
from hemabridge.training.loop import CHECKPOINT_FOLDER, SNAPSHOT_FOLDER, drop_checkpoints

RECORD: Final = "watchdog.json"
STOPPED: Final = "stopped"
"""Folders and files of a stopped attempt that are moved to `stopped/seed-N`; its checkpoints are removed."""

_MOVED: Final = (SNAPSHOT_FOLDER, "samples", "events.jsonl")
_SEEDS: Final = 2**63
_KIND: Final = FileKind("the record of a watchdog", RunError, "give the run another folder")


@dataclass(frozen=True)
class Stopped:
    """An attempt that the watchdog stopped."""

    seed: int
    reason: str


class Attempts:
    """The attempts of one run folder. Decisions are written before they are carried out, so that a kill loses none.

    Args:
        folder: the run folder.
        first_seed: the seed of the recipe; each further attempt takes the next number.
        fabric: the first process writes, and the others wait for it.
    """

    def __init__(self, folder: Path, first_seed: int, fabric: Fabric) -> None:
        self.folder, self.first_seed, self.fabric = folder, first_seed, fabric
        self.stopped = _read(folder / RECORD)
        if fabric.global_rank == 0 and self.stopped:
            self._clear_away(self.stopped[-1])
        fabric.barrier()

    @property
    def seed(self) -> int:
        """The seed of the current attempt."""
        return (self.first_seed + len(self.stopped)) % _SEEDS

    def stop(self, reason: str) -> None:
        """Stop the current attempt and move its files away; the next attempt has another seed."""
        self.stopped = (*self.stopped, Stopped(self.seed, reason))
        if self.fabric.global_rank == 0:
            self._write(finished=False)
            self._clear_away(self.stopped[-1])
        self.fabric.barrier()

    def finish(self) -> None:
        """Record that the current attempt is finished."""
        if self.fabric.global_rank == 0:
            self._write(finished=True)

    def _write(self, *, finished: bool) -> None:
        record = {"seed": self.seed, "finished": finished, "stopped": [asdict(one) for one in self.stopped]}
        with atomic_write(self.folder / RECORD) as temporary:
            temporary.write_text(json.dumps({"format": 1, **record}, indent=2), encoding="utf-8")

    def _clear_away(self, stopped: Stopped) -> None:
        """Move the files of a stopped attempt; its checkpoints, by which it is recognized, are removed last."""
        with hold_folder(self.folder):
            found = read_newest_checkpoint(self.folder / CHECKPOINT_FOLDER)
            if found is None or found[1].get("identity", {}).get("seed") != stopped.seed:
                return
            aside = self.folder / STOPPED / f"seed-{stopped.seed}"
            aside.mkdir(parents=True, exist_ok=True)
            for name in _MOVED:
                if (self.folder / name).exists():
                    shutil.rmtree(aside / name, ignore_errors=True)
                    (self.folder / name).replace(aside / name)
            drop_checkpoints(self.folder)


def _read(path: Path) -> tuple[Stopped, ...]:
    if not path.is_file():
        return ()
    found = _KIND.read_object(path)
    try:
        return tuple(Stopped(int(one["seed"]), str(one["reason"])) for one in found["stopped"])
    except (ValueError, TypeError, LookupError) as error:
        raise _KIND.damaged(path, f"another file ({error})") from error
