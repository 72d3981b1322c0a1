"""The index: a manifest from a folder of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from hemabridge.data.columns import reason_against_name, reason_against_path
from hemabridge.data.layouts import Layout, find_layout, with_levels
from hemabridge.data.listing import LINK_OUT, LeftOut, Listing, escaped, is_printable, leaves, list_images, not_a_folder
from hemabridge.data.manifest import Manifest, make_manifest
from hemabridge.errors import ImageError, InputError, ManifestError
from hemabridge.imaging.files import IMAGE_SUFFIXES, read_image, reason_of
from hemabridge.imaging.grayness import check_stained
from hemabridge.imaging.provenance import read_origin
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import FileProgress
from hemabridge.storage.files import sha256_of

_Row: TypeAlias = tuple[str | int | None, ...]
_SHOWN: Final = 3
_COLOR: Final = "photograph them in color, or export them again without a conversion"
_FILLED = ("path", "site", "class", "patient", "slide", "split", "sha256", "width", "height", "crop_px", "origin")


@dataclass(frozen=True)
class UnreadableFile:
    """A file with the name of an image that cannot be used.

    `path` is relative to the folder or root, and `escaped`.
    """

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Index:
    """The content of a folder.

    Attributes:
        manifest: the images.
        unreadable: files with the name of an image that cannot be used.
        left_out: files that are not input images, by their kind.
        without_images: the folders, `escaped`, that contain no input image at any depth.
        gray: paths of the images that are gray, in which no stain can be seen.
        warning: lines about images that are no single cells or gray; empty if there are none, or nobody looked.
    """

    manifest: Manifest
    unreadable: tuple[UnreadableFile, ...]
    left_out: tuple[LeftOut, ...]
    without_images: tuple[str, ...] = ()
    gray: tuple[str, ...] = ()
    warning: str = ""

    def check_stained(self, what: str) -> str:
        """Return one line about gray images of `what`; empty if there are none.

        Raises:
            ManifestError: all images are gray.
        """
        if not self.gray:
            return ""
        count, total = len(self.gray), len(self.manifest)
        if count == total:
            raise ManifestError(f"expected stained cells in color in {what}, got {count} gray pictures; {_COLOR}")
        names = ", ".join(self.gray[:_SHOWN]) + ", ..." * (count > _SHOWN)
        return f"warning: {count} of {total} images of {what} are gray, and nothing can be learned from them: {names}"


def index_folder(
    folder: Path,
    site: str,
    *,
    crop_px: int | None = None,
    subclasses: bool = False,
    classes_at: int | None = None,
    patients_at: int | None = None,
    progress: FileProgress | None = None,
) -> Index:
    """Read every image of a folder and list it with its class, patient, size and SHA-256.

    `hemabridge.data.listing` decides which files are input images. Classes and patients are recognized by the names of
    folders (`hemabridge.data.folder_levels`): a folder per class, below or above a folder per patient, below other
    folders or `train`, `test`, ... (which become the split), or no folder (no class). Images in `unlabeled` have no
    class. The layouts of PBC_dataset_normal_DIB, Raabin-WBC and Tecom (`Class Labels of Dataset 1.csv`) are recognized,
    and usual names of blood cells become lower case (`Neutrophil` -> `neutrophil`, `ig` -> `immature_granulocyte`).
    Synthetic images are recognized by the mark in their files.

    Args:
        folder: becomes the manifest's root.
        site: name of the hospital or laboratory.
        crop_px: side of the central square that shows a cell at the common scale, in pixels; None if unknown.
        subclasses: read the finer classes from the file names of PBC_dataset_normal_DIB.
        classes_at: the level of the folders that are classes, 1 for the first level, 0 for none; None: by their names.
        patients_at: the level of the folders that are patients, as in `classes_at`.
        progress: called after each file.

    Raises:
        ManifestError: it is not a folder, a folder below it cannot be listed, it has no readable image, or it is
            ambiguous which folders are the classes.
    """
    if not folder.is_dir():
        raise ManifestError(f"expected a folder of images, got {not_a_folder(folder)}")
    if reason := reason_against_name(site):
        raise ManifestError(f"{reason} in column site, got {site!r}; choose another name")
    layout = find_layout(folder, subclasses=subclasses)
    listing = _listing(folder, layout)
    images = sorted(listing.images + listing.links_out)
    layout = with_levels(layout, images, folder, classes_at=classes_at, patients_at=patients_at)
    rows, unreadable, gray = _read_all(folder, images, site, layout, crop_px, progress)
    if not rows:
        raise ManifestError(
            f"expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {folder}, got {listing.found_instead}, and "
            f"{len(unreadable)} unreadable images{f' ({unreadable[0].reason})' if unreadable else ''}; give the folder "
            "that contains the folders of the classes"
        )
    columns = dict(zip(_FILLED, (list(column) for column in zip(*rows, strict=True)), strict=True))
    manifest = make_manifest(columns, folder, where=f"the index of {folder}")
    without = _without_images(listing.folders, images)
    return Index(manifest, tuple(unreadable), listing.left_out, without, tuple(gray))


def check_listable(folder: Path, path: str) -> None:
    """Check that a file below a folder can be listed in a manifest whose root is that folder.

    Raises:
        ImageError: its name is not printable UTF-8 or begins with a drive letter, or it is a link that leaves the
            folder.
    """
    if not is_printable(path):
        raise ImageError("expected a file name of printable UTF-8 characters without \\, got another; rename the file")
    if leaves(folder, path):
        raise ImageError(LINK_OUT)
    if reason := reason_against_path(path):
        raise ImageError(f"{reason}, got {path!r}; rename it")


def _listing(folder: Path, layout: Layout) -> Listing:
    try:
        return list_images(folder, layout.is_mask)
    except InputError as error:
        raise ManifestError(str(error)) from error


def _without_images(folders: Sequence[str], images: Sequence[str]) -> tuple[str, ...]:
    with_images = {parent.as_posix() for path in images for parent in PurePosixPath(path).parents}
    return tuple(escaped(name) for name in sorted(set(folders) - with_images))


def _read_all(
    folder: Path,
    images: Sequence[str],
    site: str,
    layout: Layout,
    crop_px: int | None,
    progress: FileProgress | None,
) -> tuple[list[_Row], list[UnreadableFile], list[str]]:
    """Return the rows of the images that can be used, the other files with the reason, and which images are gray."""
    rows, unreadable, gray = [], [], []
    for number, path in enumerate(images, start=1):
        try:
            row, image = _row(folder, path, site, layout, crop_px)
            rows.append(row)
            if _is_gray(image):
                gray.append(path)
        except (ImageError, OSError) as error:
            unreadable.append(UnreadableFile(escaped(path), reason_of(error, folder / path)))
        if progress is not None:
            progress(number, len(images))
    return rows, unreadable, gray


def _is_gray(image: UInt8Image) -> bool:
    try:
        check_stained(image)
    except ImageError:
        return True
    return False


def _row(folder: Path, path: str, site: str, layout: Layout, crop_px: int | None) -> tuple[_Row, UInt8Image]:
    """Return the row of an image that can be listed in a manifest, in the order of `_FILLED`, and the image."""
    check_listable(folder, path)
    place = layout.place(PurePosixPath(path))
    for what, name in (("class", place.class_name), ("patient", place.patient), ("slide", place.slide)):
        if reason := reason_against_name(name):
            raise ImageError(f"{reason} in the name of a folder that is the {what}, got {name!r}; rename the folder")
    file = folder / path
    image = read_image(file)
    height, width = image.shape[:2]
    origin = read_origin(file)
    mark = "" if origin is None else origin.as_text()
    named = (place.class_name, place.patient, place.slide, place.split)
    return (path, site, *named, sha256_of(file), width, height, crop_px, mark), image
