"""The re-stained cells of a study, on disk and in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.errors import RunError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.models.model import Model
from hemabridge.models.study_folder import cells_file
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import picture_names as picture_names
from hemabridge.training.snapshots import Snapshot

TO_TARGET: Final = "to_target"
TO_SOURCE: Final = "to_source"

_ARRAY: Final = FileKind(
    "the images of a finished stage", RunError, "remove its folder, and run the same command again"
)


@dataclass(frozen=True)
class Restained:
    """The source's training and test cells, re-stained by one translator or normalizer.

    Attributes:
        method: name of the normalizer, preset of a compared translator, or method of the study's translator.
        snapshot: the tested snapshot of the study's translator; None for all others.
        model: the re-stainer, whose file is opened once for all stages.
        train, test: the re-stained cells, at the size at which the model works.
        seen: hashes of all files that it was trained or fitted on.
    """

    method: str
    snapshot: Snapshot | None
    model: Model
    train: CellSet
    test: CellSet
    seen: frozenset[str]

    @property
    def size_px(self) -> int:
        """Side of the re-stained cells in pixels."""
        return int(self.test.images.shape[1])

    @property
    def snapshot_name(self) -> str | None:
        """Name of the snapshot; None if it does not belong to the study's translator."""
        return None if self.snapshot is None else self.snapshot.name

    @property
    def name(self) -> str:
        """Unique name among the re-stainings of a study."""
        return self.snapshot_name or self.method

    @property
    def label(self) -> str:
        """Label in figures."""
        return self.method if self.snapshot is None else f"epoch {self.snapshot.epoch:g}"


def restain(to_target: Standardizer, source: Mapping[str, CellSet], folder: Path) -> None:
    """Write the source's parts, re-stained to the target: one array per part, the test part also as PNG files."""
    for part, cells in source.items():
        images = to_target.standardize(cells.images)
        np.save(folder / cells_file(part), images, allow_pickle=False)
        if part == "test":
            _write_pictures(images, cells, folder / TO_TARGET)


def restain_back(model: Model, target_test: CellSet, folder: Path) -> None:
    """Write the target's test part, re-stained to the source, as PNG files, if the translator has that direction."""
    if TO_SOURCE not in model.directions:
        return
    back = model.cell_standardizer(TO_SOURCE)
    _write_pictures(back.standardize(target_test.images), target_test, folder / TO_SOURCE)


def read_restained(source: Mapping[str, CellSet], folder: Path) -> dict[str, CellSet]:
    """Read the arrays that `restain` wrote for the same cells, by part.

    Raises:
        RunError: a file is damaged, or holds something other than these cells.
    """
    return {
        part: replace(cells, images=read_images(folder / cells_file(part), len(cells)))
        for part, cells in source.items()
    }


def read_images(path: Path, count: int) -> UInt8Images:
    """Read the re-stained images of a stage, uint8[N, S, S, 3], for `count` cells.

    Raises:
        RunError: the file is damaged, or holds other data.
    """
    found = _ARRAY.read_array(path)
    if found.dtype != np.uint8 or found.shape != (count, *found.shape[1:2] * 2, 3):
        raise _ARRAY.damaged(path, f"{found.dtype}{list(found.shape)} for {count} cells")
    return found


def _write_pictures(images: UInt8Images, cells: CellSet, folder: Path) -> None:
    names = picture_names(cells.ids)
    for image, name in zip(images, names, strict=True):
        write_image(folder / name, image)
