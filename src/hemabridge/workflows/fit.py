"""`hemabridge fit`: fits a normalizer on two folders of images and writes it as JSON; needs no PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hemabridge.data.cells import UNKNOWN, CellSet, load_cells
from hemabridge.data.index import index_folder
from hemabridge.data.listing import by_reason
from hemabridge.data.manifest import read_manifest
from hemabridge.domain.site_profile import FEWEST_CELLS
from hemabridge.domain.subdomains import FEWEST_IMAGES, fields_of, name_of, subdomains_of
from hemabridge.errors import InputError, ManifestError
from hemabridge.fields.whole_field import FieldCheck
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.by_subdomain import MOST_SUBDOMAINS, BySubdomain
from hemabridge.normalizers.catalog import check_method, fit_on_cells
from hemabridge.normalizers.images import CELL_PX
from hemabridge.normalizers.normalizer import CellScale, Normalizer
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import write_new
from hemabridge.workflows.index import MANIFEST_NAME


@dataclass(frozen=True)
class Fitted:
    """The result of `fit`.

    Attributes:
        subdomains: how many of the source's images show each of its subdomains, by the color of the empty field,
            #rrggbb.
        perhaps_swapped: whether the source's images have classes and the target's have none; usually it is the target,
            at which classifiers learn, whose images have classes.
    """

    normalizer: Normalizer
    subdomains: Mapping[str, int]
    perhaps_swapped: bool


def fit(
    method: str,
    source: Path,
    target: Path,
    out: Path,
    *,
    source_crop_px: int | None = None,
    target_crop_px: int | None = None,
    each_subdomain: bool = False,
    progress: Progress = silent,
) -> Fitted:
    """Fit a normalizer on all readable images of two folders, and write it to `out`.

    Args:
        method: a key of `hemabridge.normalizers.NORMALIZERS`.
        source: folder of the site to re-stain.
        target: folder of the site whose colors are wanted.
        out: the JSON file; it must not exist yet.
        source_crop_px: square around a cell in the source's images; if not given, it is estimated.
        target_crop_px: the same for the target.
        each_subdomain: fit each subdomain of the source separately; they should show the same classes.
        progress: called after each file.

    Raises:
        InputError: there is no such method, it would give cells colors that they do not have at the target, `out`
            exists or is not named .json, a folder shows no cell, or all its images are gray.
    """
    if out.exists():
        raise InputError(f"expected a new file, got one that exists: {out}; name another one, or remove it first")
    if out.suffix.lower() != ".json":
        raise InputError(f"expected a file that is named .json, got {out}; name it {out.name}.json")
    if not out.absolute().parent.is_dir():
        raise InputError(f"expected a file in a folder that exists, got {out}; make the folder first")
    check_method(method)
    sites = _cells(source, "source", source_crop_px, progress), _cells(target, "target", target_crop_px, progress)
    own, wanted = (site.images for site in sites)
    _warn_of_few({source: own, target: wanted}, progress)
    cells = CellScale(source_crop_px=sites[0].crop_px, target_crop_px=sites[1].crop_px, size_px=CELL_PX)
    fields = fields_of(own)
    of_image = subdomains_of(fields, MOST_SUBDOMAINS, FEWEST_IMAGES)
    subdomains = [of_image == subdomain for subdomain in range(of_image.max() + 1)]
    if each_subdomain and len(subdomains) > 1:
        fitted: Normalizer = BySubdomain.of(
            [
                (own[subdomain], fit_on_cells(method, own[subdomain], wanted).checked(method))
                for subdomain in subdomains
            ],
            wanted,
            cells,
        )
    else:
        fitted = fit_on_cells(method, own, wanted, cells).checked(method)
    write_new(out, fitted.to_json().encode("utf-8"))
    swapped = _has_classes(source, sites[0]) and not _has_classes(target, sites[1])
    return Fitted(fitted, {name_of(fields[subdomain]): int(subdomain.sum()) for subdomain in subdomains}, swapped)


def _warn_of_few(images: Mapping[Path, UInt8Images], progress: Progress) -> None:
    for folder, some in images.items():
        if len(some) < FEWEST_CELLS:
            progress(
                f"warning: {folder} has {len(some)} images; with fewer than {FEWEST_CELLS} of each folder, "
                "`standardize` cannot say whether images are of another hospital",
                0,
                0,
            )


def _has_classes(folder: Path, cells: CellSet) -> bool:
    """Tell whether a folder says several classes of its images: by its folders, or in its `manifest.csv`."""
    named = set(cells.labels[cells.labels != UNKNOWN].tolist())
    if len(named) > 1 or not (folder / MANIFEST_NAME).is_file():
        return len(named) > 1
    try:
        return len(set(read_manifest(folder / MANIFEST_NAME).column("class")) - {""}) > 1
    except ManifestError:
        return False  # a file of another program


def _cells(folder: Path, site: str, crop_px: int | None, progress: Progress) -> CellSet:
    found = index_folder(folder, site, progress=partial(progress, f"indexing the {site}"))
    manifest = found.manifest
    classes = sorted(set(manifest.column("class")) - {""})
    reading = partial(progress, f"reading the {site}")
    for line in by_reason((file.path, file.reason) for file in found.unreadable):
        progress(f"left out of {folder}: {line}", 0, 0)
    for warning in (found.check_stained(str(folder)), FieldCheck.of(manifest.paths()).warning(str(folder))):
        if warning:
            progress(warning, 0, 0)
    return load_cells(manifest, classes=classes, size_px=CELL_PX, crop_px=crop_px, progress=reading)
