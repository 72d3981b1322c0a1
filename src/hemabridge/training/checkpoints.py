"""Checkpoints: everything that is needed to resume, for the program; the two newest are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hemabridge.errors import ModelError, RunError
from hemabridge.storage.files import TEMPORARY
from hemabridge.training.tensorfile import read_tensors, write_tensors

KEPT = 2


def checkpoint_path(folder: Path, images: int) -> Path:
    """Return where the state after `images` images lies."""
    return folder / f"images-{images:08d}.safetensors"


def write_checkpoint(folder: Path, images: int, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write the state after `images` images, then remove all but the two newest, and what a killed write left."""
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, images)
    write_tensors(path, tensors, {**header, "images": images})
    for old in [*_newest_first(folder)[KEPT:], *folder.glob(f"{TEMPORARY}*.safetensors")]:
        old.unlink()
    return path


def read_newest_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint that is whole; None if there are none at all.

    Raises:
        RunError: there are checkpoints, and none is whole.
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


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("images-*.safetensors"), reverse=True)
