"""Re-stained cells of a study, on disk and in memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.training.snapshots import Snapshot
from hemabridge.training.tensorfile import read_header
from hemabridge.translators.neural import NeuralStandardizer

TO_TARGET: Final = "to_target"
TO_SOURCE: Final = "to_source"


@dataclass(frozen=True)
class Restained:
    """The source's training and test cells as one snapshot re-stains them.

    `seen` are the hashes of all files that the translator was trained on.
    """

    name: str
    method: str
    images: int
    epoch: float
    train: CellSet
    test: CellSet
    seen: frozenset[str]


def restain(snapshot: Snapshot, source: Mapping[str, CellSet], target_test: CellSet, folder: Path) -> None:
    """Write the source's parts in the target's look, and the target's test part in the source's look.

    One array per part, and the test parts also as PNG files, named as the originals.
    """
    to_target = NeuralStandardizer.from_snapshot(snapshot.path, TO_TARGET)
    for part, cells in source.items():
        images = to_target.standardize(cells.images)
        np.save(folder / f"{part}.npy", images, allow_pickle=False)
        if part == "test":
            _write_pictures(images, cells, folder / TO_TARGET)
    back = NeuralStandardizer.from_snapshot(snapshot.path, TO_SOURCE)
    _write_pictures(back.standardize(target_test.images), target_test, folder / TO_SOURCE)


def read_restained(snapshot: Snapshot, method: str, source: Mapping[str, CellSet], folder: Path) -> Restained:
    """Read what `restain` wrote for the same cells."""
    parts = {
        part: replace(cells, images=np.load(folder / f"{part}.npy", allow_pickle=False))
        for part, cells in source.items()
    }
    seen = frozenset(read_header(snapshot.path)["seen"])
    return Restained(snapshot.name, method, snapshot.images, snapshot.epoch, parts["train"], parts["test"], seen)


def _write_pictures(images: UInt8Images, cells: CellSet, folder: Path) -> None:
    names = picture_names(cells.ids)
    for image, name in zip(images, names, strict=True):
        write_image(folder / name, image)


def picture_names(ids: Sequence[str]) -> list[str]:
    """Return a PNG file's name for each image: its own, and with the old suffix inside where two would be one."""
    plain = [PurePosixPath(name).with_suffix(".png").as_posix() for name in ids]
    twice = {name for name, count in Counter(plain).items() if count > 1}
    return [f"{own}.png" if name in twice and own != name else name for own, name in zip(ids, plain, strict=True)]
