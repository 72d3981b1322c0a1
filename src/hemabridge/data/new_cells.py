"""New cells of a hospital: files are read one by one, and one that cannot be read is reported and stops nothing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hemabridge.class_names import spelling_key
from hemabridge.data.cells import SCALE_SAMPLE, UNKNOWN, CellSet, estimate_crop_px, sampled
from hemabridge.data.index import check_listable
from hemabridge.data.listing import escaped, is_image_name, list_images, not_a_folder
from hemabridge.data.manifest import Manifest, make_manifest, read_manifest
from hemabridge.data.synthetic import is_synthetic, with_origins
from hemabridge.errors import ImageError, InputError, ManifestError, SplitError
from hemabridge.fields.cell_crop import CELL_CROP_UM
from hemabridge.imaging.files import reason_of
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.grayness import check_stained
from hemabridge.imaging.kept_images import KeptImages
from hemabridge.imaging.scale import CropPx, CropSpec, check_shows_cell, px_of, side_at
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.progress import Progress


@dataclass(frozen=True, eq=False)
class NewCells:
    """The cells of all images that can be read and are large enough.

    Attributes:
        images: uint8[N, S, S, 3].
        labels: int64[N], `UNKNOWN` where no class, or another one, is stated.
        paths: of their files, relative to the manifest's root.
        hashes: SHA-256 of their files.
        crop_px: the square around a cell in images that state no scale.
        failed: the reason for each other file: it cannot be read, or shows no cell.
        unknown: why a file's image shows no single leukocyte, by its path; of those that were read.
    """

    images: UInt8Images
    labels: NDArray[np.int64]
    paths: tuple[str, ...]
    hashes: tuple[str, ...]
    crop_px: CropPx
    failed: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def unlabeled(self, classes: tuple[str, ...]) -> CellSet:
        """Return them as cells of unknown class; labels that are stated are not passed on."""
        unknown = np.full(len(self.paths), UNKNOWN, np.int64)
        return CellSet(self.images, unknown, classes, self.paths, self.hashes, self.crop_px)


@dataclass(frozen=True, eq=False)
class Listed:
    """The files of a manifest or a folder.

    Attributes:
        manifest: the files that a manifest can list.
        failed: the reason for each other image of a folder, by its escaped path.
    """

    manifest: Manifest
    failed: dict[str, str] = field(default_factory=dict)


def list_new_cells(source: Path, root: Path | None, site: str) -> Listed:
    """Read a manifest, or list the images of a folder, whose classes are unknown.

    Raises:
        ManifestError: the file is no manifest.
        InputError: the path does not exist, or the folder has no image that a manifest can list.
    """
    if source.is_file() and not is_image_name(source):
        return Listed(with_origins(read_manifest(source, root)))
    if not source.is_dir():
        raise InputError(f"expected a folder of images or a manifest, got {not_a_folder(source)}")
    listing = list_images(source)
    found = sorted(listing.images + listing.links_out)
    if not found:
        raise InputError(f"expected images in {source}, got {listing.found_instead}; name the folder that holds them")
    listable, failed = [], {}
    for name in found:
        try:
            check_listable(source, name)
        except ImageError as error:
            failed[escaped(name)] = str(error)
        else:
            listable.append(name)
    if not listable:
        name, reason = next(iter(failed.items()))
        raise InputError(f"expected at least one usable image in {source}, got none of {len(found)}; {name}: {reason}")
    manifest = make_manifest({"path": listable, "site": [site] * len(listable)}, source, where=str(source))
    return Listed(manifest, failed)


@dataclass(frozen=True)
class NewCrop:
    """The square around a cell of a hospital.

    Attributes:
        crop_px: its side in pixels; `whole` if whole images are resized to squares.
        crop_um: its side in micrometers, in images that state their scale; None if `crop_px` was stated for them too.
    """

    crop_px: CropPx
    crop_um: float | None = None

    def side_at(self, scale: FoundScale | None) -> CropPx:
        """Return the side in pixels in an image of this scale; None: it is unknown."""
        return side_at(scale, self.crop_um, self.crop_px) or self.crop_px


def crop_of(manifest: Manifest, kept: KeptImages | None = None) -> NewCrop:
    """Return the crop that the manifest states for all its images, or an estimate from readable images.

    `kept` reads the images. If most of them state their scale, the side in pixels is that at the median of these.

    Raises:
        ManifestError: the images are of several sites, or no nucleus was found.
        InputError: no file can be read.
    """
    stated = set(manifest.column("crop_px"))
    if len(stated) == 1 and (only := stated.pop()) is not None:
        return NewCrop(int(only))
    some, kept = sampled(manifest, SCALE_SAMPLE), kept or KeptImages()
    readable = some.select([_can_be_read(path, kept) for path in some.paths()])
    if len(readable) == 0:
        raise InputError(f"expected readable images to estimate their scale, got none of {len(some)}; state the crop")
    stated_um = [scale.um_per_px for path in readable.paths() if (scale := kept.scale(path)) is not None]
    if 2 * len(stated_um) > len(readable):
        return NewCrop(px_of(CELL_CROP_UM, float(np.median(stated_um))), CELL_CROP_UM)
    return NewCrop(estimate_crop_px(readable, read=kept.read), CELL_CROP_UM)


def _can_be_read(path: Path, kept: KeptImages) -> bool:
    try:
        image = kept.read(path)
        check_shows_cell(image)
        check_stained(image)
    except (ImageError, OSError, MemoryError):
        return False
    return True


def _refuse_synthetic(manifest: Manifest) -> None:
    synthetic = manifest.select(is_synthetic(manifest)).select(pl.col("class") != "")
    if len(synthetic):
        raise SplitError(f"expected real cells to score, got {len(synthetic)} synthetic ones; empty their class")


def _labels_of(names: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the label of each name that is one of the classes, in any spelling.

    Raises:
        ManifestError: there are names, and none of them is a class.
    """
    keys = [spelling_key(name) for name in classes]
    found = {name: keys.index(key) for name in names if keys.count(key := spelling_key(name)) == 1}
    found |= {name: list(classes).index(name) for name in names if name in classes}
    if names and not found:
        raise ManifestError(
            f"expected cells of the classes {', '.join(classes)} to score, got only {', '.join(names[:5])}; rename the "
            "classes in the manifest, or empty the column class to classify without scores"
        )
    return found


def read_new_cells(
    listed: Listed,
    classes: Sequence[str],
    crop: NewCrop,
    size_px: int,
    progress: Progress,
    reason_against: Callable[[UInt8Image, Path, FoundScale | None], str] | None = None,
    *,
    kept: KeptImages | None = None,
) -> NewCells:
    """Read the cells at one size; see `read_at_sizes`."""
    return read_at_sizes(listed, classes, crop, (size_px,), progress, reason_against, kept=kept)[size_px]


def read_at_sizes(
    listed: Listed,
    classes: Sequence[str],
    crop: NewCrop,
    sizes_px: Collection[int],
    progress: Progress,
    reason_against: Callable[[UInt8Image, Path, FoundScale | None], str] | None = None,
    unknown_reason: Callable[[UInt8Image, CropPx], str] | None = None,
    *,
    kept: KeptImages | None = None,
) -> dict[int, NewCells]:
    """Read each cell once and cut it at several sizes; files that could not be listed are among the failed ones.

    Args:
        listed: the files.
        classes: class names.
        crop: the square around a cell.
        sizes_px: sides of the cells, in pixels; the keys of what is returned.
        progress: called after each file.
        reason_against: an image for which it returns a text, such as a whole field, has failed with that reason.
        unknown_reason: an image for which, with the side of its square, it returns a text is read; that text is kept.
        kept: reads the files.

    Raises:
        SplitError: a synthetic cell has a class, so that it would be scored.
        InputError: no file can be read.
        ManifestError: cells have classes, and none of them is one of `classes`.
    """
    manifest, kept = listed.manifest, kept or KeptImages(0)
    _refuse_synthetic(manifest)
    images: dict[int, list[UInt8Image]] = {size_px: [] for size_px in sizes_px}
    rows, hashes, failed, unknown = [], [], dict(listed.failed), dict[str, str]()
    paths, labels = manifest.column("path"), manifest.column("class")
    label_of = _labels_of(sorted(set(labels) - {""}), classes)
    for row, file in enumerate(manifest.paths()):
        try:
            image, digest = kept.hashed(file)
            check_shows_cell(image)
            check_stained(image)
            if reason_against is not None and (reason := reason_against(image, file, kept.scale(file))):
                raise ImageError(reason)
        except (ImageError, OSError, MemoryError) as error:
            failed[paths[row]] = reason_of(error, file)
        else:
            side = crop.side_at(kept.scale(file))
            for size_px, own in images.items():
                own.append(CropSpec(side, size_px).cut(image))
            hashes.append(digest)
            rows.append(row)
            if unknown_reason is not None and (reason := unknown_reason(image, side)):
                unknown[paths[row]] = reason
        progress("reading images", row + 1, len(paths))
    if not rows:
        name = paths[0]
        raise InputError(f"expected at least one readable image, got none of {len(paths)}; {name}: {failed[name]}")
    known = np.array([label_of.get(labels[row], UNKNOWN) for row in rows], np.int64)
    names, hashed, side = tuple(paths[row] for row in rows), tuple(hashes), crop.crop_px
    return {px: NewCells(np.stack(cut), known, names, hashed, side, failed, unknown) for px, cut in images.items()}
