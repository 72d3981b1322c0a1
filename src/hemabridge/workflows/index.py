"""`hemabridge index`: make the manifest of a folder of images."""

from dataclasses import replace as replace_fields
from pathlib import Path

from hemabridge.data.cells import estimate_crop_px
from hemabridge.data.index import Index, index_folder
from hemabridge.data.manifest import write_manifest
from hemabridge.errors import ManifestError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.progress import FileProgress

MANIFEST_NAME = "manifest.csv"


def index(
    folder: Path,
    site: str,
    *,
    out: Path | None = None,
    crop_px: int | None = None,
    estimate_crop: bool = False,
    subclasses: bool = False,
    classes_at: int | None = None,
    patients_at: int | None = None,
    replace: bool = False,
    progress: FileProgress | None = None,
) -> Index:
    """Index a folder of images and write its manifest.

    Args:
        folder: images, in a folder per class or in the layout of a known public data set.
        site: name of the hospital or laboratory.
        out: the CSV to write; `manifest.csv` in `folder` if None. A manifest in another folder is read with
            `root=folder`.
        crop_px: side of the crop at the common scale, in pixels, written for each image.
        estimate_crop: estimate `crop_px` from the cells of the images.
        subclasses: use the finer classes in file names of PBC_dataset_normal_DIB.
        classes_at: level of the folders that are classes, 1 for those directly below `folder`; 0 for none; detected if
            None.
        patients_at: the same for the folders that are patients.
        replace: overwrite `out`; entries that were made by hand are lost.
        progress: called after each file.

    Raises:
        ManifestError: no readable image, it cannot be told which folders are the classes,
            `out` exists, or both `crop_px` and `estimate_crop` are given.
    """
    target = folder / MANIFEST_NAME if out is None else out
    if crop_px is not None and estimate_crop:
        raise ManifestError(f"expected crop_px or its estimate, got both (crop_px={crop_px}); leave one out")
    if target.exists() and not replace:
        raise ManifestError(f"expected no file at {target} yet, got one; name another, or replace it (--replace)")
    found = index_folder(
        folder,
        site,
        crop_px=crop_px,
        subclasses=subclasses,
        classes_at=classes_at,
        patients_at=patients_at,
        progress=progress,
    )
    if estimate_crop:
        manifest = found.manifest.with_crop_px(estimate_crop_px(found.manifest))
        found = replace_fields(found, manifest=manifest)
    write_manifest(found.manifest, target)
    fields = FieldCheck.of(found.manifest.paths()).warning(str(folder))
    return replace_fields(found, warning="\n".join(filter(None, (fields, _gray_warning(found, folder)))))


def _gray_warning(found: Index, folder: Path) -> str:
    try:
        return found.check_stained(str(folder))
    except ManifestError as error:
        return f"warning: {error}"
