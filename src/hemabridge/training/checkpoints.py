"""Checkpoints: all state that is needed to resume a run; the two newest are kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hemabridge.errors import ModelError, RunError
from hemabridge.storage.files import TEMPORARY
from hemabridge.training.tensorfile import read_tensors, write_tensors

KEPT = 2


def checkpoint_path(folder: Path, images: int) -> Path:
    """Return the path of the checkpoint after `images` images."""
    return folder / f"images-{images:08d}.safetensors"


def write_checkpoint(folder: Path, images: int, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write the state after `images` images; then remove all but the two newest, and files of interrupted writes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, images)
    write_tensors(path, tensors, {**header, "images": images})
    for old in [*_newest_first(folder)[KEPT:], *folder.glob(f"{TEMPORARY}*.safetensors")]:
        old.unlink()
    return path


def read_newest_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint that is not damaged; return None if there is no checkpoint.

    Raises:
        RunError: there are checkpoints, and all are damaged.
    """
    paths = _newest_first(folder)
    for path in paths:
        try:
            return read_tensors(path)
        except ModelError:
            continue
    if paths:
        raise RunError(f"expected a whole checkpoint in {folder}, but all {len(paths)} are damaged; start a new run")
    return None


def check_header(header: Mapping[str, Any], folder: Path) -> None:
    """Make sure that the header of a checkpoint states its run and the number of images seen.

    Raises:
        RunError: it does not.
    """
    images = header.get("images")
    if not isinstance(header.get("identity"), dict) or not isinstance(images, int) or images < 0:
        raise RunError(
            f"expected a checkpoint that says whose run it is and after how many images, got a damaged one in "
            f"{folder}; remove the newest file there, or start a new run"
        )


def check_identity(stored: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Make sure that a run is resumed with the settings and files that it was started with.

    Raises:
        RunError: a part of the identity differs; the message lists which.
    """
    now = json.loads(json.dumps(now))
    different = sorted(key for key in stored.keys() | now.keys() if stored.get(key) != now.get(key))
    if different:
        raise RunError(
            f"expected the run that {folder} holds, got another: {', '.join(different)} changed. "
            "Give the new run another folder, or undo the change to resume"
        )


def check_processes(stored: int, now: int, folder: Path) -> None:
    """Make sure that a run is resumed by as many processes as before, since each of them has its own replay pool.

    Raises:
        RunError: the numbers differ.
    """
    if stored != now:
        raise RunError(f"expected {stored} process(es), as the run in {folder} has, got {now}; start as many")


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("images-*.safetensors"), reverse=True)
