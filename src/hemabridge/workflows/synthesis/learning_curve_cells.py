"""The cells of a rare-class learning curve: the real ones that a seed uses, and synthetic ones on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.cells import CellSet
from hemabridge.data.manifest import make_manifest, read_manifest, write_manifest
from hemabridge.errors import ManifestError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.provenance import SyntheticOrigin, write_synthetic
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.storage.files import sha256_of

MANIFEST: Final = "manifest.csv"


@dataclass(frozen=True)
class Draw:
    """The training cells that one seed uses, as indices in the training part, int64.

    Attributes:
        rare: cells of the rare class, in order: the first n are the real cells of every arm, the next ones are added in
            the arm with more real cells.
        source: cells that the generator learns from and translates.
        common: cells of all other classes, including those of the source.
    """

    rare: NDArray[np.int64]
    source: NDArray[np.int64]
    common: NDArray[np.int64]


def draw_cells(labels: NDArray[np.int64], *, rare: int, source: int, most_common: int, wanted: int, seed: int) -> Draw:
    """Draw the cells that one seed uses.

    Args:
        labels: int64[N] of the training part.
        rare: label of the rare class.
        source: label of the class that synthetic cells are drawn from.
        most_common: largest number of training cells of each class except the rare one.
        wanted: number of cells of the rare class that are needed.
        seed: of the draw.

    Raises:
        ManifestError: the rare class has fewer cells than `wanted`.
    """
    rng = np.random.default_rng((seed, 5))
    orders = {label: rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels).tolist()}
    found = len(orders.get(rare, ()))
    if found < wanted:
        raise ManifestError(
            f"expected {wanted} training cells of the rare class, got {found}; try fewer real cells, add fewer, or "
            "leave out the arm real"
        )
    known = {label: order[:most_common] for label, order in orders.items() if label != rare}
    return Draw(orders[rare], known[source], np.concatenate(list(known.values())))


def label_of(cells: CellSet, name: str) -> int:
    """Return the label of a class.

    Raises:
        ManifestError: no cell has that class.
    """
    if name not in cells.classes or not np.any(cells.labels == cells.classes.index(name)):
        raise ManifestError(f"expected cells of the class {name!r} of the recipe, got only {list(cells.classes)}")
    return cells.classes.index(name)


def balanced(cells: CellSet, most: int) -> CellSet:
    """Return equally many cells of each class: the number of the smallest class, at most `most`; always the same cells.

    Raises:
        ManifestError: a class has no cell.
    """
    rng = np.random.default_rng(0)
    orders = [rng.permutation(np.flatnonzero(cells.labels == label)) for label in range(len(cells.classes))]
    count = min(most, *(len(order) for order in orders))
    if count == 0:
        raise ManifestError(f"expected held-out cells of each of {list(cells.classes)}, got none of one of them")
    return cells.subset(np.concatenate([np.sort(order[:count]) for order in orders]))


def joined(first: CellSet, second: CellSet) -> CellSet:
    """Return the cells of both; classes and scale are those of the first."""
    return replace(
        first,
        images=np.concatenate([first.images, second.images]),
        labels=np.concatenate([first.labels, second.labels]),
        ids=first.ids + second.ids,
        hashes=first.hashes + second.hashes,
    )


def write_cells(
    folder: Path, images: UInt8Images, origins: Sequence[SyntheticOrigin], *, class_name: str, site: str
) -> None:
    """Write synthetic cells of one class as PNG files that state their origin, and their manifest."""
    names = [f"synthetic-{number:04d}.png" for number in range(len(images))]
    for name, image, origin in zip(names, images, origins, strict=True):
        write_synthetic(folder / name, image, origin)
    size = [images.shape[1]] * len(names)
    columns: dict[str, Sequence[Any]] = {
        "path": names,
        "site": [site] * len(names),
        "class": [class_name] * len(names),
        "split": ["train"] * len(names),
        "sha256": [sha256_of(folder / name) for name in names],
        "width": size,
        "height": size,
        "crop_px": size,
        "origin": [origin.as_text() for origin in origins],
    }
    write_manifest(make_manifest(columns, folder), folder / MANIFEST)


def read_cells(folder: Path, beside: CellSet, label: int) -> CellSet:
    """Read the cells that `write_cells` wrote, with one label, and the classes and scale of `beside`."""
    manifest = read_manifest(folder / MANIFEST)
    images = np.stack([read_image(path) for path in manifest.paths()])
    labels = np.full(len(images), label, dtype=np.int64)
    ids, hashes = (tuple(manifest.column(name)) for name in ("path", "sha256"))
    return CellSet(images, labels, beside.classes, ids, hashes, beside.crop_px)
