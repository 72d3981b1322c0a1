"""`hemabridge fit`: a normalizer from two folders of images, kept as JSON; needs no PyTorch."""

from functools import partial
from pathlib import Path
from typing import Final

from hemabridge.data.cells import load_cells
from hemabridge.data.index import index_folder
from hemabridge.errors import InputError
from hemabridge.imaging.files import atomic_write
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.catalog import check_method, fit_normalizer
from hemabridge.normalizers.normalizer import Normalizer
from hemabridge.progress import Progress, silent

CELL_PX: Final = 96
"""Cells are measured at this side, as studies do, so that both sites show as much field around a cell."""


def fit(
    method: str,
    source: Path,
    target: Path,
    out: Path,
    *,
    source_crop_px: int | None = None,
    target_crop_px: int | None = None,
    progress: Progress = silent,
) -> Normalizer:
    """Fit a normalizer on all readable images of two folders, and write it to `out`.

    Args:
        method: a key of `hemabridge.normalizers.NORMALIZERS`.
        source: folder of the site to re-stain.
        target: folder of the site whose look is wanted.
        out: the JSON file; it must not be there yet.
        source_crop_px: square around a cell in the source's images, estimated from the nuclei if not given.
        target_crop_px: the same of the target.
        progress: told of each file.

    Raises:
        InputError: there is no such method, `out` is there already or is not named .json, or a folder shows no cell.
    """
    if out.suffix.lower() != ".json" or out.exists():
        raise InputError(f"expected a new file that is named .json, got {out}; name another one")
    if not out.absolute().parent.is_dir():
        raise InputError(f"expected a file in a folder that exists, got {out}; make the folder first")
    check_method(method)
    own = _cells(source, "source", source_crop_px, progress)
    fitted = fit_normalizer(method, own, _cells(target, "target", target_crop_px, progress))
    with atomic_write(out) as temporary:
        temporary.write_text(fitted.to_json(), encoding="utf-8")
    return fitted


def _cells(folder: Path, site: str, crop_px: int | None, progress: Progress) -> UInt8Images:
    manifest = index_folder(folder, site, progress=partial(progress, f"indexing the {site}")).manifest
    classes = sorted(set(manifest.column("class")) - {""})
    reading = partial(progress, f"reading the {site}")
    return load_cells(manifest, classes=classes, size_px=CELL_PX, crop_px=crop_px, progress=reading).images
