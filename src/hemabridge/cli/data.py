"""The commands on images, which need no PyTorch: index, audit, split, simulate, sheet, restyle."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from hemabridge.cli.app import app
from hemabridge.cli.progress_bars import shown_progress
from hemabridge.errors import InputError

ImagesFolder = Annotated[Path, typer.Argument(help="Folder with one folder of images per class, or with images.")]
ManifestFile = Annotated[Path, typer.Argument(help="Manifest (CSV), as `hemabridge index` writes it.")]
Root = Annotated[
    Path | None, typer.Option(help="Folder to which the manifest's paths are relative [default: its own folder].")
]
Classes = Annotated[list[str] | None, typer.Option("--class", help="A class of cells; may be repeated [default: all].")]
CellSeed = Annotated[int, typer.Option(min=0, help="Random seed of the cells.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite an existing manifest.")]


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="New folder; one folder per hospital is made in it.")],
    hospital: Annotated[
        list[str] | None, typer.Option(help="Name of a hospital; may be repeated [default: all].")
    ] = None,
    class_name: Classes = None,
    n_per_class: Annotated[int, typer.Option(min=1, help="Cells of each class.")] = 20,
    size_px: Annotated[int, typer.Option(min=16, max=1024, help="Side of the pictures.")] = 96,
    seed: CellSeed = 0,
    fields: Annotated[
        int | None, typer.Option(min=1, help="Write this many whole fields of a microscope instead of single cells.")
    ] = None,
    um_per_px: Annotated[float, typer.Option(help="Side of a pixel of a field in µm.")] = 0.14,
    mix: Annotated[
        str | None,
        typer.Option(help="Leukocytes of the fields: neutrophil=60,lymphocyte=40 [default: a healthy adult's]."),
    ] = None,
) -> None:
    """Simulate the same cells with stain and camera of several hospitals, so that the exact re-staining is known."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS
    from hemabridge.workflows.simulate import simulate as run

    if fields is not None:
        _simulate_fields(out, fields, hospital or tuple(HOSPITALS), seed, um_per_px, mix)
        return
    with shown_progress() as progress:
        done = run(
            out,
            hospitals=hospital or tuple(HOSPITALS),
            classes=class_name or CLASSES,
            n_per_class=n_per_class,
            size_px=size_px,
            seed=seed,
            progress=partial(progress, "rendering"),
        )
    print(
        f"{done.n_cells} cells in {out}: a folder and a manifest.csv per hospital, the ground truth, {done.sheet.name}."
    )


def _simulate_fields(
    out: Path, fields: int, hospitals: Sequence[str], seed: int, um_per_px: float, mix: str | None
) -> None:
    from hemabridge.data.simulate import FieldSpec
    from hemabridge.workflows.simulate_fields import read_mix, simulate_fields

    spec = FieldSpec(seed=seed, um_per_px=um_per_px)
    spec = spec if mix is None else replace(spec, mix=read_mix(mix))
    with shown_progress() as progress:
        done = simulate_fields(out, fields, spec, hospitals=hospitals, progress=partial(progress, "rendering"))
    print(
        f"{done.n_fields} fields with {done.n_leukocytes} leukocytes in {out}: a folder per hospital with "
        "truth.csv (each cell) and fields.csv, and the ground truth of re-staining."
    )


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG file to write.")],
    beside: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one folder of real images per class, which are drawn beside the simulated cells."
        ),
    ] = None,
    beside_crop_px: Annotated[int, typer.Option(min=8, help="Square around a cell in these real images.")] = 180,
    size_px: Annotated[int, typer.Option(min=16, max=512, help="Side of each cell.")] = 96,
    cells_per_class: Annotated[int, typer.Option(min=1, help="Rows per class.")] = 1,
    seed: CellSeed = 0,
) -> None:
    """Draw a sheet of simulated cells, one row per class and one column per hospital, with real cells if given."""
    from hemabridge.workflows.simulate import simulate_sheet

    simulate_sheet(
        out, size_px=size_px, seed=seed, cells_per_class=cells_per_class, beside=beside, beside_crop_px=beside_crop_px
    )
    print(f"The sheet is {out}.")


@app.command()
def restyle(
    source: Annotated[
        Path, typer.Argument(help="Manifest, or folder with one folder of images per class: real cells of your site.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder; one folder per hospital is made in it.")],
    root: Root = None,
    hospital: Annotated[
        list[str] | None,
        typer.Option(help="Name of a hospital; may be repeated [default: all, unless --random is given]."),
    ] = None,
    random: Annotated[int, typer.Option(min=0, help="Number of random hospitals.")] = 0,
    strength: Annotated[float, typer.Option(max=1.0, help="Largest domain shift of random hospitals, above 0.")] = 1.0,
    class_name: Classes = None,
    n_per_class: Annotated[int | None, typer.Option(min=1, help="Largest number of cells of each class.")] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell [default: the manifest's, or estimated].")
    ] = None,
    size_px: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=1024,
            help="Restyle this square alone, resized to this side in pixels [default: the whole image].",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the noise and of random hospitals.")] = 0,
) -> None:
    """Restyle real cells as other hospitals would stain and photograph them: a synthetic domain shift."""
    from hemabridge.cli.printing import print_left_out_of
    from hemabridge.workflows.restyle import find_or_draw
    from hemabridge.workflows.restyle import restyle as run

    with shown_progress() as progress:
        done = run(
            source,
            out,
            find_or_draw(hospital, random, strength, seed),
            root=root,
            classes=class_name,
            n_per_class=n_per_class,
            crop_px=crop_px,
            size_px=size_px,
            seed=seed,
            progress=progress,
        )
    print_left_out_of(source)
    print(f"{done.n_images} images under {len(done.manifests)} hospitals in {out}; {done.sheet.name} shows them.")


@app.command()
def index(
    folder: ImagesFolder,
    site: Annotated[str, typer.Option(help="Name of the hospital.")],
    out: Annotated[Path | None, typer.Option(help="Manifest to write [default: manifest.csv in the folder].")] = None,
    crop_px: Annotated[int | None, typer.Option(min=8, help="Square around a cell in these images, if known.")] = None,
    estimate_crop: Annotated[bool, typer.Option("--estimate-crop", help="Estimate --crop-px from the nuclei.")] = False,
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
            crop_px=crop_px,
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
            crop_px=crop_px,
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
