"""`hemabridge restyle`: real cells with the appearance of several hospitals (synthetic domain shift)."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from hemabridge.data.cells import estimate_crop_px, sampled
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import INDEX_COMMAND, Manifest, make_manifest, read_manifest, with_hashes, write_manifest
from hemabridge.data.simulate import HOSPITALS, Hospital, measured_reference, photograph, random_hospital
from hemabridge.data.simulate.canvas import FIELD_UM
from hemabridge.errors import ImageError, InputError, ManifestError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.provenance import mark_of
from hemabridge.imaging.scale import scale_matched
from hemabridge.imaging.sheet import draw_sheet
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.progress import Progress, silent
from hemabridge.storage.file_kind import FileKind
from hemabridge.storage.files import atomic_write, sha256_of
from hemabridge.storage.run_folder import check_outputs, hold_folder, names_in
from hemabridge.workflows.simulate.simulate import find_hospitals

MANIFEST = "manifest.csv"
ORIGIN = "restyle.json"
"""The origin and settings of the images in a folder; a later call resumes only if they are the same."""

SHEET = "sheet.png"
_SHEET_CELL_PX: Final = 96
_REFERENCE_SAMPLE: Final = 60


@dataclass(frozen=True)
class Restyles:
    """The result of `restyle`.

    Attributes:
        manifests: the manifest of each hospital by name.
        sheet: the picture with one cell per class in each hospital, beside the original.
        n_images: number of images of each hospital.
    """

    manifests: dict[str, Path]
    sheet: Path
    n_images: int


def restyle(
    source: Path,
    out: Path,
    hospitals: Sequence[Hospital],
    *,
    root: Path | None = None,
    classes: Sequence[str] | None = None,
    n_per_class: int | None = None,
    crop_px: int | None = None,
    size_px: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Restyles:
    """Write `OUT/<hospital>/<path of the image>.png`, a manifest per hospital, and `OUT/sheet.png`.

    Class, patient, slide and split of every image are kept; its site becomes `<site>-<hospital>`. The reference is the
    target hospital with the clear field measured on the images (`measured_reference`). The same command resumes an
    interrupted one; other hospitals may be added later.

    Args:
        source: a manifest, or a folder of images in folders of classes (its name becomes the site).
        out: a new or empty folder, or that of an earlier call.
        hospitals: hospitals with different names.
        root: the folder that a manifest's paths are relative to; that of the manifest if None.
        classes: the classes to restyle; all if None.
        n_per_class: largest number of images of each class, drawn with a fixed seed; all if None.
        crop_px: side of the central square that shows `FIELD_UM`; if None, that of the manifest, or else estimated from
            the nuclei.
        size_px: restyle only that square, for a camera with so many pixels per side; whole images if None.
        seed: of the noise.
        progress: called after each image.

    Raises:
        InputError: there is no hospital, or one occurs twice; `out` is within the source, or holds other files or
            images of other settings.
        ManifestError: the source cannot be used, or two images would get the same name.
        ImageError: an image cannot be read.
        RunError: another process works in `out`.
    """
    _check_hospitals(hospitals)
    _check_folder(out)
    chosen = _chosen(_read_source(source, out, root, progress), classes, n_per_class)
    chosen = with_hashes(_with_scale(chosen, crop_px))
    names = _png_names(chosen)
    reference = measured_reference(read_image(path) for path in sampled(chosen, _REFERENCE_SAMPLE).paths())
    with hold_folder(out):
        for hospital in hospitals:
            _claim(out / hospital.name, _origin(chosen, hospital, reference, size_px, seed))
        _photograph_all(chosen, names, hospitals, reference, out, size_px, seed, progress)
        manifests = {h.name: _write_site(out / h.name, chosen, names, h, size_px) for h in hospitals}
        sheet = _write_sheet(out, chosen, names, hospitals, size_px)
    return Restyles(manifests, sheet, len(names))


def _photograph_all(
    chosen: Manifest,
    names: Sequence[str],
    hospitals: Sequence[Hospital],
    reference: Hospital,
    out: Path,
    size_px: int | None,
    seed: int,
    progress: Progress,
) -> None:
    jobs = [
        (hospital, *row)
        for hospital in hospitals
        for row in zip(chosen.paths(), chosen.column("crop_px"), names, strict=True)
    ]
    for done, (hospital, path, side, name) in enumerate(jobs, 1):
        target = out / hospital.name / name
        if not target.is_file():
            image, um_per_px = _view(path, side, size_px)
            restyled = photograph(image[None], hospital, reference=reference, um_per_px=um_per_px, seed=seed)
            write_image(target, restyled[0], description=mark_of(path))
        progress("photographing", done, len(jobs))


def find_or_draw(names: Sequence[str] | None, n_random: int, strength: float, seed: int) -> list[Hospital]:
    """Return the hospitals of these names, and so many random ones; all of `HOSPITALS` if neither is given.

    Raises:
        InputError: an unknown or repeated name, or `strength` is not above 0 and up to 1.
    """
    wanted = names or (() if n_random else tuple(HOSPITALS))
    named = find_hospitals(wanted) if wanted else []
    rng = np.random.default_rng(seed)
    return [*named, *(random_hospital(rng, strength) for _ in range(n_random))]


def _check_hospitals(hospitals: Sequence[Hospital]) -> None:
    names = [hospital.name for hospital in hospitals]
    if not names or len(set(names)) != len(names):
        raise InputError(f"expected hospitals with different names, got {', '.join(names) or 'none'}")


def _read_source(source: Path, out: Path, root: Path | None, progress: Progress) -> Manifest:
    if not source.is_dir():
        return read_manifest(source, root)
    if root is not None:
        raise InputError(f"expected root only with a manifest, got the folder {source} and root {root}; leave it out")
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"expected a folder to write to outside of {source}, got {out}; originals are never touched")
    found = index_folder(source, source.resolve().name, progress=partial(progress, "indexing"))
    if found.unreadable:
        first = found.unreadable[0]
        raise ImageError(
            f"expected images that can be read in {source}, got {len(found.unreadable)} that cannot, first "
            f"{first.path}: {first.reason}; remove them, or give a manifest, which leaves them out: `{INDEX_COMMAND}`"
        )
    return found.manifest


def _chosen(manifest: Manifest, classes: Sequence[str] | None, n_per_class: int | None) -> Manifest:
    """Return the images of the classes, at most `n_per_class` of each, in the order of the manifest."""
    if n_per_class is not None and n_per_class < 1:
        raise InputError(f"expected n_per_class of at least 1, got {n_per_class}")
    known = sorted(set(manifest.column("class")))
    unknown = sorted(set(classes or ()) - set(known))
    if unknown:
        raise ManifestError(f"expected classes out of {', '.join(known)}; got {', '.join(unknown)}")
    paths: set[str] = set()
    for name in classes or known:
        of_class = manifest.select(pl.col("class") == name)
        paths.update(sampled(of_class, n_per_class or len(of_class)).column("path"))
    return manifest.select(pl.col("path").is_in(sorted(paths)))


def _with_scale(manifest: Manifest, crop_px: int | None) -> Manifest:
    stated = manifest.column("crop_px")
    if crop_px is not None:
        return manifest.with_crop_px(crop_px)
    if not any(stated):
        return manifest.with_crop_px(estimate_crop_px(manifest))
    if not all(stated):
        raise ManifestError(
            f"expected crop_px for every image or for none, got it for {len(stated) - stated.count(None)} of "
            f"{len(stated)}; fill it in, or state one for all (--crop-px)"
        )
    return manifest


def _png_names(manifest: Manifest) -> list[str]:
    names = [Path(path).with_suffix(".png").as_posix() for path in manifest.column("path")]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ManifestError(f"expected images that differ by more than their suffix, got two for {twice}; rename one")
    return names


def _check_folder(out: Path) -> None:
    check_outputs(out, {name for name in names_in(out) - {SHEET} if not (out / name / ORIGIN).is_file()})


def _origin(
    images: Manifest, hospital: Hospital, reference: Hospital, size_px: int | None, seed: int
) -> dict[str, Any]:
    rows = zip(*(images.column(name) for name in ("path", "sha256", "crop_px")), strict=True)
    return {
        "images": hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest(),
        "hospital": hospital.model_dump(mode="json"),
        "reference": reference.model_dump(mode="json"),
        "size_px": size_px,
        "seed": seed,
    }


def _claim(folder: Path, origin: dict[str, Any]) -> None:
    """Write the origin of a folder's images, or make sure that it is the same as in an earlier call."""
    path = folder / ORIGIN
    if not path.is_file():
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        return
    kind = FileKind("what `restyle` wrote", InputError, f"remove {folder}")
    before = kind.read_object(path)
    if not origin.keys() <= before.keys():
        raise kind.damaged(path, "a damaged file")
    differing = [name for name, value in origin.items() if before[name] != value]
    if differing:
        raise InputError(
            f"expected the same {' and '.join(differing)} as before to go on in {folder}, got another; "
            "name another folder, or remove that one"
        )


def _view(path: Path, crop_px: int, size_px: int | None) -> tuple[UInt8Image, float]:
    """Return the part of an image that the camera photographs, and the side of its pixels in µm."""
    image = read_image(path)
    if size_px is None:
        return image, FIELD_UM / crop_px
    return scale_matched(image, crop_px, size_px), FIELD_UM / size_px


def _write_site(folder: Path, images: Manifest, names: list[str], hospital: Hospital, size_px: int | None) -> Path:
    columns = images.table.to_dict(as_series=False)
    columns["path"] = names
    columns["site"] = [f"{site}-{hospital.name}" for site in columns["site"]]
    columns["sha256"] = [sha256_of(folder / name) for name in names]
    if size_px is not None:
        columns |= dict.fromkeys(("width", "height", "crop_px"), [size_px] * len(names))
    path = folder / MANIFEST
    write_manifest(make_manifest(columns, folder, where=str(path)), path)
    return path


def _write_sheet(
    out: Path, images: Manifest, names: list[str], hospitals: Sequence[Hospital], size_px: int | None
) -> Path:
    rows: dict[str, list[UInt8Image]] = {}
    for class_name, path, side, name in zip(
        images.column("class"), images.paths(), images.column("crop_px"), names, strict=True
    ):
        if class_name not in rows:
            restyled = [read_image(out / hospital.name / name) for hospital in hospitals]
            shown = [scale_matched(image, size_px or side, _SHEET_CELL_PX) for image in restyled]
            rows[class_name] = [scale_matched(read_image(path), side, _SHEET_CELL_PX), *shown]
    sheet = out / SHEET
    columns = ["original", *(hospital.name.replace("-", "_", 1) for hospital in hospitals)]
    write_image(sheet, draw_sheet(list(rows.values()), list(rows), columns))
    return sheet
