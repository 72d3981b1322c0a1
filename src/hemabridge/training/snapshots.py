"""Snapshots: weights after a number of images, with a header that has all that is needed to use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemabridge.errors import ModelError
from hemabridge.training.tensorfile import read_header, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in a run folder. Its file is opened for `images` and `epoch` alone, and only if they are not known.

    Attributes:
        path: of the file.
        known: the images and epochs that the run had seen, if they are known without opening the file.
    """

    path: Path
    known: tuple[int, float] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The name in tables and on the command line."""
        return self.path.stem

    @property
    def images(self) -> int:
        """Images that the run had seen.

        Raises:
            ModelError: the file is damaged, or is not a snapshot.
        """
        return self._seen[0]

    @property
    def epoch(self) -> float:
        """The same number in epochs.

        Raises:
            ModelError: the file is damaged, or is not a snapshot.
        """
        return self._seen[1]

    @cached_property
    def _seen(self) -> tuple[int, float]:
        return self.known or _read_seen(self.path)


def write_snapshot(
    folder: Path,
    images: int,
    epoch: float,
    raw: "Mapping[str, Tensor]",
    average: "Mapping[str, Tensor] | None",
    about: Mapping[str, Any],
) -> Snapshot:
    """Write raw weights, averaged weights if there are any, and the header `about`, which describes the networks.

    The file name states the epoch if it is a whole number, such as `epoch-0015`, else the images, `images-00001234`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.safetensors"):
        left.unlink()  # left by a process that was killed while it wrote
    name = epoch_name(round(epoch)) if epoch.is_integer() else f"images-{images:08d}"
    path = folder / f"{name}.safetensors"
    tensors = {f"raw/{name}": tensor for name, tensor in raw.items()}
    if average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    write_tensors(path, tensors, {**about, "images": images, "epoch": epoch})
    return Snapshot(path, (images, epoch))


def epoch_name(epoch: int) -> str:
    """Return the name of the snapshot after a whole number of epochs."""
    return f"epoch-{epoch:04d}"


def list_snapshots(folder: Path) -> list[Snapshot]:
    """Return the snapshots of a run folder, oldest first; headers are read only where the names are not sufficient.

    Raises:
        ModelError: a file that has to be read is damaged, or is not a snapshot.
    """
    files = snapshot_files(folder)
    named = {path: _unit_and_count(path) for path in files}
    if {unit for unit, _ in named.values()} in ({"epoch"}, {"images"}):
        return [Snapshot(path) for path in sorted(files, key=lambda path: named[path][1])]
    return sorted(map(Snapshot, files), key=lambda snapshot: snapshot.images)


def snapshot_files(folder: Path) -> list[Path]:
    """Return the files of a run folder's snapshots, sorted by name; none is opened."""
    paths = (folder / "snapshots").glob("*.safetensors")
    # A process that was killed while it wrote leaves a file whose name begins with a dot.
    return sorted(path for path in paths if not path.name.startswith("."))


def last_snapshot(files: Sequence[Path]) -> Path:
    """Return the snapshot of the longest training; headers are read only where the names are not sufficient.

    Raises:
        ModelError: a file that has to be read is damaged, or is not a snapshot.
    """
    last: dict[str, tuple[int, Path]] = {}
    for path in files:
        key, number = _unit_and_count(path)
        last[key] = max(last.get(key, (number, path)), (number, path))
    candidates = [path for _, path in last.values()]
    return candidates[0] if len(candidates) == 1 else max(candidates, key=lambda path: Snapshot(path).images)


def _unit_and_count(path: Path) -> tuple[str, int]:
    """Return the unit that a file's name counts in, `epoch` or `images`, and the number; its name and 0 for others."""
    unit, _, count = path.stem.rpartition("-")
    return (unit, int(count)) if unit in ("epoch", "images") and count.isdecimal() else (path.stem, 0)


def _read_seen(path: Path) -> tuple[int, float]:
    header = read_header(path)
    images, epoch = header.get("images"), header.get("epoch")
    if not isinstance(images, int) or not isinstance(epoch, float):
        raise ModelError(
            f"expected a snapshot, which says after how many images and epochs, got another file: {path}; "
            "take it out of the folder"
        )
    return images, epoch


def read_snapshot(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read the weights of a snapshot, as `weights_of` selects them, and its header.

    Raises:
        ModelError: the file is not a snapshot.
    """
    tensors, header = read_tensors(path)
    return weights_of(tensors, path), header


def weights_of(tensors: "Mapping[str, Tensor]", path: Path) -> "dict[str, Tensor]":
    """Select the averaged weights among all tensors of a snapshot, or the raw ones if there are no averaged ones.

    Their names are `network/key`.

    Raises:
        ModelError: there are neither; the message states `path`.
    """
    kinds = {name.split("/", 1)[0] for name in tensors}
    kind = "average" if "average" in kinds else "raw"
    if kind not in kinds:
        raise ModelError(f"expected the weights of a snapshot in {path}, got only {sorted(kinds)}")
    prefix = f"{kind}/"
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
