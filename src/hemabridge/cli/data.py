"""The commands on one's own images: index, audit and split."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from hemabridge.cli.app import app
from hemabridge.cli.crops import CropUm, in_pixels
from hemabridge.cli.progress_bars import shown_progress
from hemabridge.errors import InputError

ImagesFolder = Annotated[Path, typer.Argument(help="Folder with one folder of images per class, or with images.")]
ManifestFile = Annotated[Path, typer.Argument(help="Manifest (CSV), as `hemabridge index` writes it.")]
Root = Annotated[
    Path | None, typer.Option(help="Folder to which the manifest's paths are relative [default: its own folder].")
]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite an existing manifest.")]


@app.command()
def index(
    folder: ImagesFolder,
    site: Annotated[str, typer.Option(help="Name of the hospital.")],
    out: Annotated[Path | None, typer.Option(help="Manifest to write [default: manifest.csv in the folder].")] = None,
    crop_px: Annotated[int | None, typer.Option(min=8, help="Square around a cell in these images, if known.")] = None,
    crop_um: CropUm = None,
    estimate_crop: Annotated[bool, typer.Option("--estimate-crop", help="Estimate --crop-px from the cells.")] = False,
    subclasses: Annotated[
        bool, typer.Option("--subclasses", help="Read finer classes from the file names of known data sets.")
    ] = False,
    classes_at: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Level of the folders that are classes; 1: directly in FOLDER, 0: none [default: by their names].",
        ),
    ] = None,
    patients_at: Annotated[
        int | None, typer.Option(min=0, help="Level of the folders that are patients, as in --classes-at.")
    ] = None,
    replace: Replace = False,
) -> None:
    """Make the manifest of a folder: the class and patient of each image, its hash and its size.

    Classes and patients are recognized by the names of folders. If they cannot be recognized, state their levels.
    """
    from hemabridge.cli.printing import print_left_out, print_unusable, summary_of
    from hemabridge.workflows.index import MANIFEST_NAME
    from hemabridge.workflows.index import index as run

    with shown_progress() as progress:
        found = run(
            folder,
            site,
            out=out,
            crop_px=in_pixels(crop_px, crop_um, folder),
            estimate_crop=estimate_crop,
            subclasses=subclasses,
            classes_at=classes_at,
            patients_at=patients_at,
            replace=replace,
            progress=partial(progress, "indexing"),
        )
    print_unusable([(file.path, file.reason) for file in found.unreadable])
    print_left_out(left for left in found.left_out if left.kind != "of hemabridge")
    if found.without_images:
        count, names = len(found.without_images), ", ".join(found.without_images[:3])
        more = ", ..." if count > 3 else ""
        print(f"without an image: {count} folder{'s' * (count > 1)}: {names}{more}", file=sys.stderr)
    print(f"{len(found.manifest)} images in {out or folder / MANIFEST_NAME}, {len(found.unreadable)} unreadable files.")
    print(summary_of(found.manifest))
    if found.warning:
        print(found.warning, file=sys.stderr)
    if found.unreadable:
        raise typer.Exit(1)


@app.command()
def audit(
    manifest: ManifestFile,
    root: Root = None,
    other: Annotated[Path | None, typer.Option(help="Manifest of a second hospital, for comparison.")] = None,
    other_root: Annotated[Path | None, typer.Option(help="Folder to which the paths of --other are relative.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A translator or a normalizer: state for each hospital whether it is in-distribution for this model."
        ),
    ] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell, for --model [default: as in its training].")
    ] = None,
    crop_um: CropUm = None,
    out: Annotated[Path | None, typer.Option(help="Also write all findings and measures to this JSON file.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if a finding is an error (for scripts).")
    ] = False,
) -> None:
    """Check images before any training: unreadable files, duplicates, classes, colors and cell scale of each site.

    Exits with 1 if more than half of the images cannot be used; with --strict, with 3 on any error.
    """
    from hemabridge.workflows.audit import audit_manifest

    with shown_progress() as progress:
        found = audit_manifest(
            manifest,
            root=root,
            other=other,
            other_root=other_root,
            model=model,
            crop_px=in_pixels(crop_px, crop_um, manifest, root),
            out=out,
            progress=partial(progress, "auditing"),
        )
    for finding in found.findings:
        print(f"{finding.severity}: {finding.text}")
    if strict and any(finding.severity == "error" for finding in found.findings):
        raise typer.Exit(3)
    if 2 * len(found.unreadable) > found.n_images:
        raise typer.Exit(1)


@app.command()
def split(
    manifest: ManifestFile,
    root: Root = None,
    out: Annotated[Path | None, typer.Option(help="Manifest to write [default: the same file].")] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="A part and its share, such as train=0.7. Give one option for each part; the shares must sum to 1."
        ),
    ] = None,
    group: Annotated[
        Literal["auto", "patient", "slide", "none"], typer.Option(help="Images of one such group stay in one part.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    replace: Replace = False,
) -> None:
    """Split a manifest into parts: by patient or slide if known, stratified by class, duplicates in one part."""
    from hemabridge.workflows.split import FRACTIONS, split_manifest

    fractions = _fractions(part) if part else FRACTIONS
    with shown_progress() as progress:
        done = split_manifest(
            manifest,
            root=root,
            out=out,
            fractions=fractions,
            seed=seed,
            group=group,
            replace=replace,
            progress=partial(progress, "looking for near duplicates"),
        )
    for name in fractions:
        print(f"{name}: {done.column('split').count(name)} images")


def _fractions(parts: list[str]) -> dict[str, float]:
    fractions: dict[str, float] = {}
    for part in parts:
        name, _, share = part.partition("=")
        if not name or name in fractions:
            raise InputError(f"expected each --part once and with a name, such as train=0.7, got {' '.join(parts)}")
        try:
            fractions[name] = float(share)
        except ValueError:
            raise InputError(f"expected --part name=share, such as train=0.7, got {part!r}") from None
    return fractions
