"""Cells in memory: scale-matched square images with their labels, ids and file hashes."""

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.manifest import Manifest
from hemabridge.data.synthetic import refuse_held_out
from hemabridge.errors import ManifestError
from hemabridge.fields.cell_crop import CellSize, propose_crop_px
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import CropPx, CropSpec
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.progress import FileProgress
from hemabridge.sampling import evenly_spaced
from hemabridge.storage.files import sha256_of

UNKNOWN = -1
"""The label of a cell of unknown class."""

SCALE_SAMPLE = 200
"""Images per site from which a crop is estimated."""


@dataclass(frozen=True, eq=False)
class CellSet:
    """Cells of one scale.

    Attributes:
        images: uint8[N, S, S, 3], RGB, 0..255.
        labels: int64[N], index into `classes`, or `UNKNOWN`.
        classes: class names.
        ids: path of each cell's file, relative to its manifest's root.
        hashes: SHA-256 of each cell's file, hexadecimal.
        crop_px: side of the square that was cut from the center of each file's image, in pixels; `whole` if the whole
            image was resized to a square.
    """

    images: UInt8Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    hashes: tuple[str, ...]
    crop_px: CropPx

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, indices: Sequence[int] | NDArray[np.integer]) -> "CellSet":
        """Return the cells at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return CellSet(
            images=self.images[rows],
            labels=self.labels[rows],
            classes=self.classes,
            ids=tuple(self.ids[row] for row in rows),
            hashes=tuple(self.hashes[row] for row in rows),
            crop_px=self.crop_px,
        )

    def drawn(self, prevalence: NDArray[np.float64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw cells with a given prevalence; return their indices, int64[K], K about the smaller of `most` and N.

        Cells of a class that has too few are drawn repeatedly. At least one cell of each class that has cells is drawn.

        Args:
            prevalence: share of each class, float64[C], 0..1.
            most: largest number of cells.
            rng: random generator of the draws.
        """
        counts = np.maximum(1, np.rint(prevalence * min(most, len(self)))).astype(int)
        members = [np.flatnonzero(self.labels == label) for label in range(len(self.classes))]
        return np.concatenate(
            [
                rng.choice(own, count, replace=count > len(own))
                for own, count in zip(members, counts.tolist(), strict=True)
                if len(own)
            ]
        )


def joined(own: CellSet, further: Sequence[CellSet]) -> CellSet:
    """Return one hospital's cells followed by those of further hospitals, which together are about as many.

    The further cells are repeated as a whole, so that a classifier that is shown each cell equally often sees at least
    half the time a cell of its own hospital. `crop_px` is that of the own cells.

    Args:
        own: cells of the hospital that the classifier is for.
        further: labeled cells of other hospitals, of the same size and classes.

    Raises:
        ManifestError: cells of another size or other classes.
    """
    if not further:
        return own
    for each in further:
        if each.images.shape[1:] != own.images.shape[1:] or each.classes != own.classes:
            raise ManifestError(
                f"expected cells of {own.images.shape[1]} px and the classes {', '.join(own.classes)}, got "
                f"{each.images.shape[1]} px and {', '.join(each.classes)}"
            )
    repeats = max(1, len(own) // sum(len(each) for each in further))
    sets = (own, *(each for _ in range(repeats) for each in further))
    return CellSet(
        images=np.concatenate([each.images for each in sets]),
        labels=np.concatenate([each.labels for each in sets]),
        classes=own.classes,
        ids=tuple(name for each in sets for name in each.ids),
        hashes=tuple(digest for each in sets for digest in each.hashes),
        crop_px=own.crop_px,
    )


def load_cells(
    manifest: Manifest,
    *,
    classes: Sequence[str],
    size_px: int,
    crop_px: CropPx | None = None,
    progress: FileProgress | None = None,
) -> CellSet:
    """Read the cells of the given classes and the unlabeled ones; cells of other classes are left out.

    Args:
        manifest: images of one scale.
        classes: class names in the order of the labels.
        size_px: side S of the cells that are returned.
        crop_px: side of the central square that is cut out before resizing, in pixels of the file, or `whole` to
            resize the whole image to a square, as the reference implementation of CycleGAN does. None takes the
            manifest's column `crop_px`, and if that is empty, `estimate_crop_px` of the whole manifest. Give a value
            if parts of one site are loaded separately, since estimates of different parts differ a little.
        progress: called after each file.

    Raises:
        ManifestError: no cell is left, the cells have several scales or do not fit into memory, or a file has changed
            since it was indexed.
        SplitError: a synthetic image (by the column `origin` or the mark in its file) is in a part that is scored.
        ImageError: a file cannot be read.
    """
    if len(set(classes)) != len(classes):
        raise ManifestError(f"expected each class once, got {list(classes)}; remove the repeated ones")
    wanted = _of_classes(manifest, classes)
    refuse_held_out(wanted)
    side = crop_px if crop_px is not None else _crop_px_of(manifest, wanted)
    index = {name: label for label, name in enumerate(classes)}
    spec = CropSpec(side, size_px)
    images = _room_for(len(wanted), size_px)
    hashes = []
    rows = zip(wanted.paths(), wanted.column("sha256"), strict=True)
    for row, (path, known_hash) in enumerate(rows):
        found_hash = sha256_of(path)
        if known_hash and known_hash != found_hash:
            raise ManifestError(
                f"expected the file that was indexed (sha256 {known_hash[:12]}...) at {path}, got another "
                f"({found_hash[:12]}...); restore the file or index the folder again"
            )
        images[row] = spec.cut(read_image(path))
        hashes.append(found_hash)
        if progress is not None:
            progress(row + 1, len(wanted))
    labels = np.array([index.get(name, UNKNOWN) for name in wanted.column("class")], dtype=np.int64)
    return CellSet(images, labels, tuple(classes), tuple(wanted.column("path")), tuple(hashes), side)


def _room_for(count: int, size_px: int) -> UInt8Images:
    needed, there = count * size_px * size_px * 3, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise ManifestError(
            f"expected cells that fit into the {there / 1e9:,.1f} GB of memory, got {count:,} of {size_px} x {size_px} "
            f"px, which take {needed / 1e9:,.1f} GB; make their size smaller, or use fewer images"
        )
    return np.empty((count, size_px, size_px, 3), dtype=np.uint8)


def estimate_crop_px(
    manifest: Manifest, *, sample: int = SCALE_SAMPLE, read: Callable[[Path], UInt8Image] = read_image
) -> int:
    """Estimate the crop side, in pixels, at which this site's cells are about as large as those of any other site.

    Measures red cells and nuclei of at most `sample` images (`propose_crop_px`). Their choice does not depend on the
    order of the rows. `read` reads a file.

    Raises:
        ManifestError: the manifest has several sites, or no nucleus was found.
        ImageError: a file cannot be read.
    """
    sites = sorted(set(manifest.column("site")))
    if len(sites) != 1:
        raise ManifestError(f"expected the images of one site to estimate their scale, got {sites}; select one")
    paths = sampled(manifest, sample).paths()
    found = propose_crop_px(CellSize.of(read(path)) for path in paths)
    if found is None:
        raise ManifestError(
            f"expected nuclei in the images of {sites[0]!r} to estimate their scale, got none in "
            f"{len(paths)} images; state crop_px"
        )
    return found


def sampled(manifest: Manifest, count: int) -> Manifest:
    """Return at most `count` rows, spread evenly over the sorted paths; the order of the rows does not matter."""
    paths = manifest.column("path")
    order = sorted(range(len(paths)), key=paths.__getitem__)
    chosen = {order[place] for place in evenly_spaced(len(paths), count)}
    return manifest.select([row in chosen for row in range(len(paths))])


def _of_classes(manifest: Manifest, classes: Sequence[str]) -> Manifest:
    names = manifest.column("class")
    wanted = manifest.select([name == "" or name in classes for name in names])
    if len(wanted) == 0:
        found = sorted(set(names))
        near = [name for spec in classes for name in difflib.get_close_matches(spec, found, n=1)]
        hint = f"; did you mean {', '.join(map(repr, near))}?" if near else "; state classes of this manifest"
        raise ManifestError(f"expected cells of the classes {list(classes)}, got only {found or 'no cells'}{hint}")
    return wanted


def _crop_px_of(manifest: Manifest, wanted: Manifest) -> int:
    """Return the one crop that the manifest states for the wanted cells, or the estimate if it states none."""
    stated = set(wanted.column("crop_px"))
    if stated == {None}:
        return estimate_crop_px(manifest)
    if len(stated) != 1:
        values = sorted(str(value) if value else "nothing" for value in stated)
        raise ManifestError(
            f"expected one crop_px for all cells that are loaded together, got {', '.join(values)}; "
            "select one site, or state crop_px"
        )
    return int(stated.pop())
