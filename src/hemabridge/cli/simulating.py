"""The commands on simulated hospitals: simulate, sheet and restyle."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hemabridge.cli.app import app
from hemabridge.cli.crops import CropUm, in_pixels
from hemabridge.cli.data import Root
from hemabridge.cli.progress_bars import shown_progress

Classes = Annotated[list[str] | None, typer.Option("--class", help="A class of cells; may be repeated [default: all].")]
CellSeed = Annotated[int, typer.Option(min=0, help="Random seed of the cells.")]


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
    prevalence: Annotated[
        str | None,
        typer.Option(help="Leukocytes of the fields: neutrophil=60,lymphocyte=40 [default: a healthy adult's]."),
    ] = None,
) -> None:
    """Simulate the same cells with stain and camera of several hospitals, so that the exact re-staining is known."""
    from hemabridge.data.simulate import CLASSES, HOSPITALS
    from hemabridge.workflows.simulate.simulate import simulate as run

    if fields is not None:
        _simulate_fields(out, fields, hospital or tuple(HOSPITALS), seed, um_per_px, prevalence)
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
    out: Path, fields: int, hospitals: Sequence[str], seed: int, um_per_px: float, prevalence: str | None
) -> None:
    from hemabridge.data.simulate import FieldSpec
    from hemabridge.workflows.simulate.whole_fields import read_prevalence, simulate_fields

    spec = FieldSpec(seed=seed, um_per_px=um_per_px)
    spec = spec if prevalence is None else replace(spec, prevalence=read_prevalence(prevalence))
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
    from hemabridge.workflows.simulate.simulate import simulate_sheet

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
    crop_um: CropUm = None,
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
            crop_px=in_pixels(crop_px, crop_um, source, root),
            size_px=size_px,
            seed=seed,
            progress=progress,
        )
    print_left_out_of(source)
    print(f"{done.n_images} images under {len(done.manifests)} hospitals in {out}; {done.sheet.name} shows them.")
